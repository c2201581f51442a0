//! The evaluator role: runs candidates on the guiding tests.

use std::sync::Arc;

use super::SessionError;
use super::prompts::preamble;
use super::trace::{Execution, TestVerdict};
use crate::sandbox::{ExecReport, ExecRequest, Limits, Pool, Trace, TraceCaps};
use crate::task::{Task, Test};

/// What happened when one program ran.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// For the trace.
    pub execution: Execution,
    /// What it did on each test.
    pub runs: Vec<RunOfTest>,
}

/// What a program did on one test.
#[derive(Debug, Clone)]
pub struct RunOfTest {
    /// Where it was traced.
    pub trace: Option<Trace>,
    /// The beginning of what it printed, where the test runs it as a script.
    pub printed: Option<String>,
}

/// Runs programs on tests.
pub trait Evaluator: Send + Sync {
    /// Runs each program on a task's guiding tests, in their order.
    ///
    /// # Errors
    /// The evaluator itself fails; whatever a program does is a verdict.
    fn evaluate(
        &self,
        task: &Task,
        programs: &[String],
        trace: Option<TraceCaps>,
    ) -> Result<Vec<Evaluation>, SessionError>;
}

/// Runs programs in the sandbox.
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

/// A request to run a program on tests of a task. What the benchmark presumes, and what the prompt gives before its
/// function, runs first; the tests' own set-up runs after the program, as the benchmarks do it. Of a snippet the tests
/// get the text ([`Task::program`]).
pub fn request(task: &Task, program: &str, tests: &[Test], limits: Limits) -> ExecRequest {
    ExecRequest {
        code: task.program(program).into_owned(),
        tests: tests.iter().map(|test| test.to_exec(&task.setup)).collect(),
        setup: task.imports.clone() + &preamble(task),
        trace: None,
        limits,
        keep_going: true,
    }
}

/// The verdicts of a report, for the trace.
pub fn verdicts(report: &ExecReport) -> Vec<TestVerdict> {
    report.tests.iter().map(|t| t.verdict.record()).collect()
}

impl Evaluator for Sandboxed {
    fn evaluate(
        &self,
        task: &Task,
        programs: &[String],
        trace: Option<TraceCaps>,
    ) -> Result<Vec<Evaluation>, SessionError> {
        let requests: Vec<ExecRequest> = programs
            .iter()
            .map(|p| ExecRequest { trace, ..request(task, p, &task.guiding_tests, self.limits) })
            .collect();
        let reports = self.pool.execute_all(&requests)?;
        Ok(reports
            .into_iter()
            .zip(programs)
            .map(|(report, program)| Evaluation {
                execution: Execution {
                    program: program.clone(),
                    passed: report.passed(),
                    tests: verdicts(&report),
                },
                runs: report
                    .tests
                    .into_iter()
                    .map(|t| RunOfTest { trace: t.trace, printed: t.printed })
                    .collect(),
            })
            .collect())
    }
}
