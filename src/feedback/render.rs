//! The text of a trace.

use std::collections::BTreeMap;

use super::{SignalText, chars};
use crate::sandbox::{EventKind, Local, Trace, TraceEvent, source_line};

/// Stands where events were left out.
const CUT: &str = "...\n";

/// Deepest nesting that is drawn.
const DEEPEST_MARK: u32 = 5;

/// The variables of every active function. Traces hold only what changed.
#[derive(Default)]
struct State<'a> {
    by_depth: BTreeMap<u32, Vec<&'a Local>>,
}

impl<'a> State<'a> {
    fn apply(&mut self, event: &'a TraceEvent) {
        let locals = self.by_depth.entry(event.depth).or_default();
        if event.kind == EventKind::Call {
            locals.clear();
        }
        for changed in &event.locals {
            let known = locals.iter().position(|local| local.name == changed.name);
            match (known, changed.value.is_some()) {
                (Some(at), true) => locals[at] = changed,
                (Some(at), false) => {
                    locals.remove(at);
                }
                (None, true) => locals.push(changed),
                (None, false) => {}
            }
        }
    }

    /// `== {name: value} , {name: type}`, one `=` for each active function.
    fn line(&self, depth: u32) -> String {
        let none = Vec::new();
        let locals = self.by_depth.get(&depth).unwrap_or(&none);
        let join = |text: &dyn Fn(&Local) -> String| -> String {
            locals.iter().map(|local| text(local)).collect::<Vec<_>>().join(", ")
        };
        let values = join(&|local| format!("{}: {}", local.name, local.value.as_deref().unwrap_or_default()));
        let types = join(&|local| format!("{}: {}", local.name, local.kind));
        let mark = "=".repeat(depth.min(DEEPEST_MARK) as usize);
        format!("{mark} {{{values}}} , {{{types}}}").trim_start().to_owned()
    }
}

/// All events, in at most `limit` characters: as many from the start as fit, and the last one. `None` when that is
/// not possible, or when there is no event.
pub(super) fn full(program: &str, trace: &Trace, limit: usize) -> Option<SignalText> {
    let mut state = State::default();
    let mut blocks = Vec::with_capacity(trace.events.len());
    for event in &trace.events {
        state.apply(event);
        blocks.push(block(program, event, &state));
    }
    let last = blocks.pop()?;
    let sizes: Vec<usize> = blocks.iter().map(|block| chars(block)).collect();
    let room = limit.checked_sub(chars(&last))?;
    if sizes.iter().sum::<usize>() <= room {
        blocks.push(last);
        return Some(SignalText { text: blocks.concat(), capped: false });
    }
    let mut room = room.checked_sub(chars(CUT))?;
    let fitting =
        sizes.iter().take_while(|size| room.checked_sub(**size).inspect(|left| room = *left).is_some());
    blocks.truncate(fitting.count());
    Some(SignalText { text: blocks.concat() + CUT + &last, capped: true })
}

/// The variables before the last line of the outermost function that ran; of the last event where no line ran.
pub(super) fn minimal(trace: &Trace, limit: usize) -> Option<SignalText> {
    let outermost = |event: &TraceEvent| event.kind == EventKind::Line && event.depth == 1;
    let last = trace.events.iter().rposition(outermost).or(trace.events.len().checked_sub(1))?;
    let mut state = State::default();
    trace.events[..=last].iter().for_each(|event| state.apply(event));
    let text = state.line(trace.events[last].depth) + "\n";
    (chars(&text) <= limit).then_some(SignalText { text, capped: false })
}

fn block(program: &str, event: &TraceEvent, state: &State<'_>) -> String {
    let name = match event.kind {
        EventKind::Call => "CALL",
        EventKind::Line => "LINE",
        EventKind::Return => "RETURN",
        EventKind::Exception => "EXCEPTION",
    };
    let source = source_line(program, event.line).unwrap_or_default().trim_end();
    let mut text = format!("{}\n{name}: {source}\n", state.line(event.depth));
    if let Some(value) = &event.value {
        let label = if event.kind == EventKind::Exception { "Exception" } else { "Return Value" };
        text.push_str(&format!("{label}: {}\n", one_line(value)));
    }
    text
}

/// An exception's message may hold any characters.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
