//! The tester role: the verdict on the whole program. The only place that runs held-out tests.

use std::sync::Arc;

use super::SessionError;
use super::evaluator::{request, verdicts};
use super::trace::TestVerdict;
use crate::sandbox::{Limits, Pool};
use crate::task::{Task, Test};

/// Verdicts on a finished program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Score {
    /// One a guiding test.
    pub guiding: Vec<TestVerdict>,
    /// One a held-out test.
    pub held_out: Vec<TestVerdict>,
}

impl Score {
    /// Whether there are tests and all passed.
    pub fn all_passed(verdicts: &[TestVerdict]) -> bool {
        !verdicts.is_empty() && verdicts.iter().all(|v| v.kind == "passed")
    }
}

/// Judges finished programs.
pub trait Tester: Send + Sync {
    /// Runs all tests of the task.
    ///
    /// # Errors
    /// The tester itself fails; whatever the program does is a verdict.
    fn score(&self, task: &Task, program: &str) -> Result<Score, SessionError>;
}

/// Judges in the sandbox.
pub struct Sandboxed {
    pool: Arc<Pool>,
    limits: Limits,
}

impl Sandboxed {
    /// Uses the pool's workers within the limits.
    pub fn new(pool: Arc<Pool>, limits: Limits) -> Self {
        Self { pool, limits }
    }
}

impl Tester for Sandboxed {
    fn score(&self, task: &Task, program: &str) -> Result<Score, SessionError> {
        let run = |tests: &[Test]| -> Result<Vec<TestVerdict>, SessionError> {
            if tests.is_empty() {
                return Ok(Vec::new());
            }
            Ok(verdicts(&self.pool.execute(&request(task, program, tests, self.limits))?))
        };
        Ok(Score { guiding: run(&task.guiding_tests)?, held_out: run(&task.held_out_tests)? })
    }
}
