//! The outcome of one test.

use serde::{Deserialize, Serialize};

use crate::session::trace::TestVerdict;

/// What happened to a test. Only [`Verdict::Passed`] is a pass; every way not to answer is something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The test ran to its end.
    Passed,
    /// An assertion of the test did not hold.
    Failed {
        /// The assertion's own message, or both sides of `assert a == b`.
        message: String,
    },
    /// An exception left the program or the test; `SystemExit` is one.
    Exception {
        /// Name of its class.
        kind: String,
        /// Its text, where that could be had without running the program's code.
        message: String,
        /// Line of the program, from 1; 0 when it did not arise in the program.
        line: u32,
    },
    /// Out of wall-clock or CPU time.
    Timeout,
    /// Out of memory.
    Memory,
    /// Printed without end.
    Output,
    /// The process died of a signal, for example 11 after a stack overflow in C code.
    Killed {
        /// Number of the signal.
        signal: i32,
    },
    /// Tried what the sandbox does not permit, left without an answer, or wrote to the harness's pipe.
    Forbidden {
        /// What it did.
        message: String,
    },
    /// The program is not valid Python.
    SyntaxError {
        /// CPython's message.
        message: String,
        /// Line of the program, from 1; 0 when unknown.
        line: u32,
    },
    /// Nothing can be said about the program: the harness or the test itself is at fault.
    HarnessError {
        /// What happened.
        message: String,
    },
}

impl Verdict {
    /// True only when the harness saw the test run to its end.
    pub fn passed(&self) -> bool {
        matches!(self, Verdict::Passed)
    }

    /// The verdict as traces and results keep it: a kind and one line of text.
    pub fn record(&self) -> TestVerdict {
        let (kind, message) = match self {
            Verdict::Passed => ("passed", String::new()),
            Verdict::Failed { message } => ("failed", message.clone()),
            Verdict::Exception { kind, message, line } => {
                ("exception", at_line(with_message(kind, message), *line))
            }
            Verdict::Timeout => ("timeout", String::new()),
            Verdict::Memory => ("memory", String::new()),
            Verdict::Output => ("output", String::new()),
            Verdict::Killed { signal } => ("killed", format!("signal {signal}")),
            Verdict::Forbidden { message } => ("forbidden", message.clone()),
            Verdict::SyntaxError { message, line } => ("syntax_error", at_line(message.clone(), *line)),
            Verdict::HarnessError { message } => ("harness_error", message.clone()),
        };
        TestVerdict { kind: kind.to_owned(), message: one_line(&message) }
    }

    /// The same verdict without what differs from one run to the next: addresses of objects.
    pub(super) fn canonical(mut self) -> Verdict {
        match &mut self {
            Verdict::Failed { message }
            | Verdict::Exception { message, .. }
            | Verdict::Forbidden { message }
            | Verdict::SyntaxError { message, .. }
            | Verdict::HarnessError { message } => *message = without_addresses(message),
            _ => {}
        }
        self
    }
}

fn with_message(kind: &str, message: &str) -> String {
    if message.is_empty() { kind.to_owned() } else { format!("{kind}: {message}") }
}

fn at_line(text: String, line: u32) -> String {
    if line == 0 { text } else { format!("{text} (line {line})") }
}

/// One line: control characters would otherwise reach terminals and prompts.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

/// Removes every ` at 0x…` (an object's address in CPython's default texts).
pub(super) fn without_addresses(text: &str) -> String {
    const MARK: &str = " at 0x";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(MARK) {
        out.push_str(&rest[..at]);
        rest = rest[at + MARK.len()..].trim_start_matches(|c: char| c.is_ascii_hexdigit());
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_removed() {
        assert_eq!(without_addresses("<f at 0x7f12ab> and <g at 0x0>!"), "<f> and <g>!");
        assert_eq!(without_addresses("at 0x"), "at 0x");
    }

    #[test]
    fn a_record_is_one_line() {
        let verdict =
            Verdict::Exception { kind: "ValueError".into(), message: "a\nb\u{1b}[1m".into(), line: 7 };
        let record = verdict.record();
        assert_eq!(record.kind, "exception");
        assert_eq!(record.message, "ValueError: a b [1m (line 7)");
    }
}
