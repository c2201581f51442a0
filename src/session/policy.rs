//! When a session ends, apart from the model ending its text, and from when on its program is run.

use std::time::Instant;

use super::method::{Limits, MethodConfig};
use super::trace::EndReason;
use crate::engine::Finish;
use crate::task::{Task, Test};

/// What a session has spent of its limits.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    started: Instant,
    lines: usize,
    tokens: usize,
}

impl Budget {
    /// Starts the clock.
    pub fn new(limits: Limits) -> Self {
        Self { limits, started: Instant::now(), lines: 0, tokens: 0 }
    }

    /// Counts a commit.
    pub fn spend(&mut self, lines: usize, tokens: usize) {
        self.lines += lines;
        self.tokens += tokens;
    }

    /// Tokens that may still be committed.
    pub fn tokens_left(&self) -> usize {
        self.limits.max_tokens.saturating_sub(self.tokens)
    }

    /// The limit that is reached, if any.
    pub fn exhausted(&self) -> Option<EndReason> {
        if self.tokens >= self.limits.max_tokens {
            Some(EndReason::TokenBudget)
        } else if self.lines >= self.limits.max_lines {
            Some(EndReason::LineBudget)
        } else if self.limits.max_seconds.is_some_and(|s| self.started.elapsed().as_secs_f64() > s) {
            Some(EndReason::TimeBudget)
        } else {
            None
        }
    }
}

/// Whether a session ends as soon as the committed program passes all guiding tests.
///
/// `vigor` selects by these tests, so there is nothing left to select. `greedy` does not look at tests, and
/// `eg-cfg` with γ = 0 must write what `greedy` writes: they end where the model ends.
pub fn ends_when_tests_pass(method: &MethodConfig) -> bool {
    matches!(method, MethodConfig::Vigor(_))
}

/// Whether what is written so far can be run on the guiding tests to learn from it. Tests that call the entry point need
/// its definition to have begun (`defines`), as in the reference: before it there is nothing that they could call. A
/// script runs from its first line on.
pub fn can_guide(task: &Task, defines: impl Fn(&str) -> bool) -> bool {
    let is_script = |test: &Test| test.script.is_some();
    let entry = task.entry_point.as_deref();
    !task.guiding_tests.is_empty() && (task.guiding_tests.iter().any(is_script) || entry.is_some_and(defines))
}

/// The end of a session that the model itself brings about.
pub fn end_of(finish: Finish) -> Option<EndReason> {
    match finish {
        Finish::EndOfText => Some(EndReason::EndOfText),
        Finish::Fence => Some(EndReason::Fence),
        Finish::Lines | Finish::Length => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::ScriptTest;
    use crate::task::PromptKind;

    #[test]
    fn calls_need_a_definition_and_scripts_need_none() {
        let task = |entry_point: Option<&str>, guiding_tests: Vec<Test>| Task {
            id: "t".to_owned(),
            prompt: "p".to_owned(),
            prompt_kind: PromptKind::Text,
            entry_point: entry_point.map(str::to_owned),
            imports: String::new(),
            setup: String::new(),
            guiding_tests,
            held_out_tests: Vec::new(),
            reference_solution: None,
        };
        let (call, script) = (Test::statements("assert f(1)"), Test::script(ScriptTest::default()));
        let defines = |name: &str| name == "f";
        assert!(can_guide(&task(Some("f"), vec![call.clone()]), defines));
        assert!(!can_guide(&task(Some("g"), vec![call.clone()]), defines));
        assert!(!can_guide(&task(None, vec![call.clone()]), defines));
        assert!(!can_guide(&task(Some("f"), vec![]), defines));
        assert!(can_guide(&task(None, vec![script.clone()]), defines));
        assert!(can_guide(&task(Some("g"), vec![call, script]), defines));
    }
}
