//! Turns execution traces into the text that the conditional prompt shows: the signal.
//!
//! The layout has the parts of EG-CFG's: a heading, a paragraph that says how far to trust what follows, what an
//! entry consists of, and one entry for each program and call. It shows what programs did, never what they should
//! have done: neither expected values nor verdicts are in it.

mod invocation;
mod render;

use serde::{Deserialize, Serialize};

use crate::sandbox::Trace;

pub use invocation::invocation;

/// One program, one call, and what happened.
#[derive(Debug, Clone, Copy)]
pub struct SignalEntry<'a> {
    /// The program that ran; the trace's lines are its lines.
    pub program: &'a str,
    /// The call, without the expected value: see [`invocation`].
    pub invocation: &'a str,
    /// What it printed, where that is what a test is about.
    pub printed: Option<&'a str>,
    /// What it did.
    pub trace: &'a Trace,
}

/// How much of a trace is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalMode {
    /// Every event, with the variables at that moment.
    #[default]
    Full,
    /// Only the variables of the outermost function before the last line of it that ran.
    Minimal,
}

/// Limits on the size of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignalCaps {
    /// Characters of one entry.
    pub max_entry_chars: usize,
    /// Characters of the whole text. Entries that do not fit are left out, the last ones first.
    pub max_total_chars: usize,
    /// How much of a trace is shown.
    pub mode: SignalMode,
}

impl Default for SignalCaps {
    fn default() -> Self {
        SignalCaps { max_entry_chars: 4096, max_total_chars: 24_576, mode: SignalMode::Full }
    }
}

/// A signal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignalText {
    /// The text; empty when there is nothing to show. It ends with a newline otherwise.
    pub text: String,
    /// True when a cap here, or one on a trace, left something out.
    pub capped: bool,
}

const OPENING: &str = "\
### How possible continuations behave when run

The entries below were recorded by running possible continuations of the solution. A continuation may be \
unfinished, may be wrong, and was tried only to learn from it.
";

const PARTS: &str = "\
Each entry has three parts:
- `# Function:` the code that was run
- `# Invocation:` the call that was made
- `# Execution Trace:` the steps that were executed, with the variables and their types at each step
";

/// The same where programs are run as scripts.
const PARTS_OF_SCRIPTS: &str = "\
Each entry has four parts:
- `# Function:` the code that was run
- `# Invocation:` how it was run
- `# Printed:` the beginning of what it printed
- `# Execution Trace:` the steps that were executed, with the variables and their types at each step
";

const CLOSING: &str = "\
Learn from these runs what the code really does, and let that guide the code that you write next.
";

/// What stands before the entries.
fn introduction(entries: &[SignalEntry<'_>]) -> String {
    let prints = entries.iter().any(|entry| entry.printed.is_some());
    [OPENING, if prints { PARTS_OF_SCRIPTS } else { PARTS }, CLOSING].concat()
}

/// Writes the signal for `entries`, in their order.
pub fn signal_text(entries: &[SignalEntry<'_>], caps: &SignalCaps) -> SignalText {
    let introduction = introduction(entries);
    let mut text = String::new();
    let mut capped = false;
    let mut left = caps.max_total_chars.saturating_sub(chars(&introduction));
    for entry in entries {
        // One character for the empty line before it.
        let Some(rendered) = render_entry(entry, caps, caps.max_entry_chars.min(left.saturating_sub(1)))
        else {
            capped = true;
            continue;
        };
        left -= chars(&rendered.text) + 1;
        text.push('\n');
        text.push_str(&rendered.text);
        capped |= rendered.capped;
    }
    if text.is_empty() {
        return SignalText { text, capped };
    }
    SignalText { text: introduction + &text, capped }
}

/// One entry of at most `limit` characters; `None` when not even its first event fits.
fn render_entry(entry: &SignalEntry<'_>, caps: &SignalCaps, limit: usize) -> Option<SignalText> {
    let head = format!(
        "# Function:\n{}\n# Invocation:\n{}\n{}# Execution Trace:\n",
        entry.program.trim_end(),
        entry.invocation.trim(),
        entry.printed.map_or_else(String::new, |text| format!("# Printed:\n{}\n", text.trim_end()))
    );
    let left = limit.checked_sub(chars(&head))?;
    let trace = match caps.mode {
        SignalMode::Full => render::full(entry.program, entry.trace, left)?,
        SignalMode::Minimal => render::minimal(entry.trace, left)?,
    };
    Some(SignalText { text: head + &trace.text, capped: trace.capped || entry.trace.capped })
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{EventKind, Local, TraceEvent};

    const PROGRAM: &str = "def f(n):\n    n += 1\n    return g(n)\ndef g(m):\n    return [m]\n";

    fn event(
        kind: EventKind,
        line: u32,
        depth: u32,
        locals: &[(&str, &str)],
        value: Option<&str>,
    ) -> TraceEvent {
        let local = |(name, value): &(&str, &str)| Local {
            name: name.to_string(),
            kind: "int".to_owned(),
            value: Some(value.to_string()),
        };
        TraceEvent {
            kind,
            line,
            depth,
            function: String::new(),
            locals: locals.iter().map(local).collect(),
            value: value.map(str::to_owned),
        }
    }

    fn trace() -> Trace {
        use EventKind::*;
        let events = vec![
            event(Call, 1, 1, &[("n", "1")], None),
            event(Line, 2, 1, &[], None),
            event(Line, 3, 1, &[("n", "2")], None),
            event(Call, 4, 2, &[("m", "2")], None),
            event(Line, 5, 2, &[], None),
            event(Return, 5, 2, &[], Some("[2]")),
            event(Return, 3, 1, &[], Some("[2]")),
        ];
        Trace { events, capped: false }
    }

    fn signal(caps: SignalCaps) -> SignalText {
        let trace = trace();
        signal_text(
            &[SignalEntry { program: PROGRAM, invocation: "f(1)", printed: None, trace: &trace }],
            &caps,
        )
    }

    #[test]
    fn full() {
        let expected = "
# Function:
def f(n):
    n += 1
    return g(n)
def g(m):
    return [m]
# Invocation:
f(1)
# Execution Trace:
= {n: 1} , {n: int}
CALL: def f(n):
= {n: 1} , {n: int}
LINE:     n += 1
= {n: 2} , {n: int}
LINE:     return g(n)
== {m: 2} , {m: int}
CALL: def g(m):
== {m: 2} , {m: int}
LINE:     return [m]
== {m: 2} , {m: int}
RETURN:     return [m]
Return Value: [2]
= {n: 2} , {n: int}
RETURN:     return g(n)
Return Value: [2]
";
        let signal = signal(SignalCaps::default());
        assert_eq!(signal.text.strip_prefix(&introduction(&[])), Some(expected));
        assert!(!signal.capped);
    }

    #[test]
    fn what_a_script_printed_stands_before_its_trace() {
        let trace = trace();
        let entry =
            SignalEntry { program: PROGRAM, invocation: "input:\n1", printed: Some("2\n"), trace: &trace };
        let text = signal_text(&[entry], &SignalCaps::default()).text;
        assert!(text.contains("Each entry has four parts:\n") && !text.contains("three parts"), "{text}");
        assert!(
            text.contains("\n# Invocation:\ninput:\n1\n# Printed:\n2\n# Execution Trace:\n= {"),
            "{text}"
        );
    }

    #[test]
    fn minimal() {
        let signal = signal(SignalCaps { mode: SignalMode::Minimal, ..SignalCaps::default() });
        let (_, trace) = signal.text.split_once("# Execution Trace:\n").expect("the part");
        assert_eq!(trace, "= {n: 2} , {n: int}\n");
    }

    #[test]
    fn a_long_trace_keeps_its_start_and_its_end() {
        let signal = signal(SignalCaps { max_entry_chars: 250, ..SignalCaps::default() });
        let (_, trace) = signal.text.split_once("# Execution Trace:\n").expect("the part");
        let expected = "= {n: 1} , {n: int}\nCALL: def f(n):\n...\n= {n: 2} , {n: int}\nRETURN:     return g(n)\nReturn Value: [2]\n";
        assert_eq!(trace, expected);
        assert!(signal.capped && chars(&signal.text) - chars(&introduction(&[])) <= 251);
    }

    #[test]
    fn entries_that_do_not_fit_are_left_out() {
        let trace = trace();
        let entry = SignalEntry { program: PROGRAM, invocation: "f(1)", printed: None, trace: &trace };
        let one = signal_text(&[entry], &SignalCaps::default());
        let caps = SignalCaps { max_total_chars: chars(&one.text) + 20, ..SignalCaps::default() };
        let two = signal_text(&[entry, entry], &caps);
        assert_eq!(two.text, one.text);
        assert!(two.capped);
    }

    #[test]
    fn nothing_to_show_is_an_empty_text() {
        assert_eq!(signal_text(&[], &SignalCaps::default()), SignalText::default());
        let empty = Trace::default();
        let entry = SignalEntry { program: PROGRAM, invocation: "f(1)", printed: None, trace: &empty };
        assert_eq!(signal_text(&[entry], &SignalCaps::default()).text, "");
    }
}
