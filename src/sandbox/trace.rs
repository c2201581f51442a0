//! What a program did during one test, event by event.

use serde::{Deserialize, Serialize};

use super::verdict::without_addresses;

/// The calls, lines, returns and exceptions of the program's own functions during one test.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// In the order in which they happened.
    pub events: Vec<TraceEvent>,
    /// True when a cap was reached, or the program took the tracer away: there was more. What is missing follows
    /// the last event, or lies deeper than the cap on depth allows.
    pub capped: bool,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceEvent {
    /// What happened.
    pub kind: EventKind,
    /// Line of the program, from 1. For `line` events the line that is about to run.
    pub line: u32,
    /// How many of the program's functions are active; 0 at its top level.
    pub depth: u32,
    /// Name of the function, with `call` events.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub function: String,
    /// The local variables that changed since the last event of this activation; all of them with `call`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locals: Vec<Local>,
    /// The value returned, or the exception's class and message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A function was entered (a generator: or resumed).
    Call,
    /// A line is about to run.
    Line,
    /// A function returned (a generator: or yielded).
    Return,
    /// An exception was raised in, or passed through, a function.
    Exception,
}

/// A local variable as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Local {
    /// Its name.
    pub name: String,
    /// Name of its value's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its value as text, cut to the cap; `None` when the variable was deleted.
    pub value: Option<String>,
}

impl Trace {
    /// Removes what differs from run to run, and events whose line the program does not have: code objects
    /// can claim any line.
    pub(super) fn canonical(mut self, lines: usize) -> Trace {
        let before = self.events.len();
        self.events.retain(|event| event.line >= 1 && event.line as usize <= lines);
        self.capped |= self.events.len() != before;
        for event in &mut self.events {
            if let Some(value) = &mut event.value {
                *value = without_addresses(value);
            }
            for local in &mut event.locals {
                if let Some(value) = &mut local.value {
                    *value = without_addresses(value);
                }
            }
        }
        self
    }
}
