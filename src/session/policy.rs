//! When a session ends, apart from the model ending its text.

use std::time::Instant;

use super::method::{Limits, MethodConfig};
use super::trace::EndReason;
use crate::engine::Finish;

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

/// The end of a session that the model itself brings about.
pub fn end_of(finish: Finish) -> Option<EndReason> {
    match finish {
        Finish::EndOfText => Some(EndReason::EndOfText),
        Finish::Fence => Some(EndReason::Fence),
        Finish::Lines | Finish::Length => None,
    }
}
