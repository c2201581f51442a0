//! Samples → verdicts, in the sandbox, several at a time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde::{Deserialize, Serialize};

use super::Sample;
use crate::sandbox::{Limits, Pool, SandboxError};
use crate::session::evaluator::{request, verdicts};
use crate::session::trace::TestVerdict;
use crate::task::{Task, Test};

/// Tests of one sample together may take so many times what one of them may.
const TOTAL: f64 = 3.0;

/// Which tests of a task decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestSet {
    /// The held-out tests.
    HeldOut,
    /// The guiding tests.
    Guiding,
    /// The guiding tests, then the held-out tests.
    Both,
}

impl TestSet {
    fn of(self, task: &Task) -> Vec<Test> {
        match self {
            Self::HeldOut => task.held_out_tests.clone(),
            Self::Guiding => task.guiding_tests.clone(),
            Self::Both => [task.guiding_tests.as_slice(), &task.held_out_tests].concat(),
        }
    }
}

/// How samples are scored.
#[derive(Debug, Clone, Copy)]
pub struct ScoreOptions {
    /// The tests that decide.
    pub tests: TestSet,
    /// What each sample may use.
    pub limits: Limits,
}

/// Limits of a sample: `seconds` for each test (for loading the program, and again for the test), three times as
/// much for all tests together.
pub fn limits(seconds: f64, memory_mb: u64) -> Limits {
    let total = TOTAL * seconds;
    Limits {
        wall_test_seconds: seconds,
        wall_total_seconds: total,
        cpu_seconds: total.ceil() as u64,
        memory_mb,
        ..Limits::default()
    }
}

/// What came of a sample. No field depends on time or on the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleVerdict {
    /// The task, as its dataset calls it.
    pub task_id: String,
    /// Which sample of the file, from 0.
    pub sample: usize,
    /// Whether there are tests and all passed.
    pub passed: bool,
    /// `passed`, or the kind of the first test that did not; `no_tests` where the task has none of that set.
    pub verdict: String,
    /// One line about that test; empty when passed.
    pub message: String,
    /// One verdict a test.
    pub tests: Vec<TestVerdict>,
}

impl SampleVerdict {
    fn new(task: &Task, sample: usize, tests: Vec<TestVerdict>) -> Self {
        let (verdict, message) = match tests.iter().find(|test| test.kind != "passed") {
            Some(test) => (test.kind.as_str(), test.message.clone()),
            None if tests.is_empty() => ("no_tests", String::new()),
            None => ("passed", String::new()),
        };
        Self {
            task_id: task.id.clone(),
            sample,
            passed: verdict == "passed",
            verdict: verdict.to_owned(),
            message,
            tests,
        }
    }
}

/// Why scoring ended early. Whatever a sample does is a verdict.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// The user asked to stop.
    #[error("interrupted after {finished} of {samples} samples; nothing was written")]
    Stopped {
        /// Samples with a verdict.
        finished: usize,
        /// All samples.
        samples: usize,
    },
    /// The sandbox failed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// Runs every sample on its task's tests, as many at a time as the pool has workers. Verdicts are in the order of
/// the samples, and do not depend on how many workers there are. `finished` hears of each as soon as it is known.
///
/// # Errors
/// `stop` became true (samples that run are waited for), or the sandbox failed.
pub fn score(
    pool: &Pool,
    tasks: &[Task],
    samples: &[Sample],
    options: ScoreOptions,
    stop: &AtomicBool,
    finished: &(dyn Fn(&SampleVerdict) + Sync),
) -> Result<Vec<SampleVerdict>, ScoreError> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let results: Vec<Mutex<Option<Result<SampleVerdict, SandboxError>>>> =
        samples.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        while !stop.load(Ordering::Relaxed) && !failed.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(sample) = samples.get(at) else { return };
            let result = verdict(pool, &tasks[sample.task], at, sample, options);
            match &result {
                Ok(verdict) => finished(verdict),
                Err(_) => failed.store(true, Ordering::Relaxed),
            }
            *results[at].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
    };
    thread::scope(|scope| {
        for _ in 0..pool.workers().min(samples.len()) {
            scope.spawn(work);
        }
    });
    let results =
        results.into_iter().filter_map(|cell| cell.into_inner().unwrap_or_else(PoisonError::into_inner));
    let verdicts = results.collect::<Result<Vec<_>, _>>()?;
    if verdicts.len() < samples.len() {
        return Err(ScoreError::Stopped { finished: verdicts.len(), samples: samples.len() });
    }
    Ok(verdicts)
}

fn verdict(
    pool: &Pool,
    task: &Task,
    at: usize,
    sample: &Sample,
    options: ScoreOptions,
) -> Result<SampleVerdict, SandboxError> {
    let tests = options.tests.of(task);
    let told = if tests.is_empty() {
        Vec::new()
    } else {
        verdicts(&pool.execute(&request(task, &sample.program, &tests, options.limits))?)
    };
    Ok(SampleVerdict::new(task, at, told))
}
