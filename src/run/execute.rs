//! Runs the sessions of an experiment on worker threads, beside other processes, and records them as they finish.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;

use super::config::{DatasetSection, RunConfig};
use super::error::RunError;
use super::files::{ResultRow, TimingRow};
use super::grid::Cell;
use super::journal::{Journal, Turn};
use super::skip::{skipped, solved_before};
use crate::session::method::Limits;
use crate::session::trace::{Step, TraceLine};
use crate::task::Task;

/// One session to run.
#[derive(Debug, Clone, Copy)]
pub struct SessionJob<'a> {
    /// Its number in the run: task-major, `task * cells + cell`.
    pub index: usize,
    /// The problem.
    pub task: &'a Task,
    /// The method and its parameters.
    pub cell: &'a Cell,
    /// Seed of all its randomness.
    pub seed: u64,
    /// What it may spend.
    pub limits: Limits,
    /// When this becomes true the session is to be abandoned with [`SolveError::Stopped`].
    pub stop: &'a AtomicBool,
}

/// What a session came to.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionOutcome {
    /// For `results.jsonl`.
    pub result: ResultRow,
    /// For `trace.jsonl`.
    pub events: Vec<TraceLine>,
    /// For `timings.jsonl`.
    pub timing: TimingRow,
}

/// Why a session has no outcome.
#[derive(Debug, Error)]
pub enum SolveError {
    /// It was told to stop.
    #[error("stopped")]
    Stopped,
    /// Something failed that is no verdict on the program: the engine, the sandbox, a template.
    #[error("{0}")]
    Failed(String),
}

/// Solves sessions, several at once.
pub trait Solver: Sync {
    /// Runs one session to its end.
    ///
    /// # Errors
    /// [`SolveError::Stopped`] when `job.stop` became true; [`SolveError::Failed`] ends the run.
    fn solve(&self, job: &SessionJob, progress: &dyn Progress) -> Result<SessionOutcome, SolveError>;
}

/// Where a session stands after a step.
#[derive(Debug, Clone, Copy)]
pub struct StepProgress<'a> {
    /// Number of the session in the run.
    pub index: usize,
    /// Its task.
    pub task: &'a str,
    /// Its cell.
    pub cell: &'a str,
    /// What the step saw and decided.
    pub step: &'a Step,
    /// The program after it.
    pub program: &'a str,
    /// Tokens generated so far.
    pub tokens: usize,
}

/// Watches a run. Called from several threads; every method does nothing unless implemented.
pub trait Progress: Sync {
    /// The run begins, or goes on: so many sessions in all, so many already finished.
    fn run_started(&self, _total: usize, _finished: usize) {}
    /// A session begins.
    fn session_started(&self, _job: &SessionJob) {}
    /// A session took a step.
    fn step(&self, _step: &StepProgress) {}
    /// A session is finished and recorded.
    fn session_finished(&self, _index: usize, _result: &ResultRow, _timing: &TimingRow) {}
    /// A session that began is not recorded here: it was stopped, or another process was first.
    fn session_left(&self, _index: usize) {}
    /// Other processes have finished so many more sessions, and hold so many now. Called again and again.
    fn others(&self, _finished: usize, _held: usize) {}
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {}

/// How far a run came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Sessions of the run, or of this process's share of it.
    pub sessions: usize,
    /// Of those, the ones that were finished before.
    pub resumed: usize,
    /// Of those, the ones that are finished now, by whichever process.
    pub finished: usize,
}

impl Summary {
    /// True when there is nothing left to run; false when the run was stopped.
    pub fn complete(&self) -> bool {
        self.finished == self.sessions
    }
}

/// The tasks that the configuration selects, in the dataset's order.
///
/// # Errors
/// When a task asked for is not in the dataset, when an identifier is there twice, or when none is left.
pub fn select_tasks(section: &DatasetSection, all: Vec<Task>) -> Result<Vec<Task>, RunError> {
    let fail = |reason| RunError::Tasks { dataset: section.name.clone(), reason };
    let mut seen = std::collections::HashSet::new();
    if let Some(twice) = all.iter().find(|task| !seen.insert(task.id.as_str())) {
        return Err(fail(format!("it has two tasks named {:?}", twice.id)));
    }
    let total = all.len();
    if let Some(unknown) = section.tasks.iter().find(|id| !seen.contains(id.as_str())) {
        let examples: Vec<&str> = all.iter().take(3).map(|task| task.id.as_str()).collect();
        return Err(fail(format!("it has no task {unknown:?}; its tasks are {}, …", examples.join(", "))));
    }
    let wanted = |task: &Task| section.tasks.is_empty() || section.tasks.contains(&task.id);
    let selected: Vec<Task> = all
        .into_iter()
        .filter(wanted)
        .skip(section.offset)
        .take(section.limit.unwrap_or(usize::MAX))
        .collect();
    if selected.is_empty() {
        return Err(fail(format!("`tasks`, `offset` and `limit` leave none of its {total} tasks")));
    }
    Ok(selected)
}

/// Runs the sessions that the journal lacks, `concurrency` at once, and records them.
///
/// Sessions are claimed in order and recorded as they finish; what is written does not depend on either, nor on other
/// processes that have the same folder open. Where cells are skipped once a task is solved, those of a task are claimed one
/// after the other. Sessions that those hold are waited for, and taken over when
/// their process is lost. When `stop` becomes true no further session begins, running ones are abandoned, and the
/// summary says how far the run came; the same call with the journal opened again goes on from there. `stop` is also set
/// by this function when a session or a write fails, to end the sessions in flight.
///
/// # Errors
/// When a write fails or a session fails (or panics). Finished sessions stay in the journal.
pub fn execute(
    journal: &mut Journal,
    config: &RunConfig,
    tasks: &[Task],
    solver: &dyn Solver,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Summary, RunError> {
    let (sessions, resumed) = (journal.sessions(), journal.finished());
    progress.run_started(sessions, resumed);
    let workers = config.run.concurrency.min(sessions - resumed);
    let floor = Floor {
        journal: Mutex::new(journal),
        failure: Mutex::new(None),
        config,
        tasks,
        solver,
        progress,
        stop,
    };
    let (working, ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (working, floor) = (working.clone(), &floor);
            scope.spawn(move || {
                let _working = working;
                floor.work();
            });
        }
        drop(working);
        // Nothing is sent: the wait ends with the last worker.
        while ended.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
            floor.look();
        }
    });
    let failure = floor.failure.into_inner().unwrap_or_else(PoisonError::into_inner);
    let journal = floor.journal.into_inner().unwrap_or_else(PoisonError::into_inner);
    match failure {
        Some(RunError::Session { index, task, cell, reason, .. }) => {
            Err(RunError::Session { index, task, cell, reason, finished: journal.finished() })
        }
        Some(error) => Err(error),
        None => {
            journal.close()?;
            Ok(Summary { sessions, resumed, finished: journal.finished() })
        }
    }
}

/// How long a worker, or who watches them, waits before it asks again.
const PAUSE: Duration = Duration::from_millis(50);

/// What the workers of a run share.
struct Floor<'a> {
    journal: Mutex<&'a mut Journal>,
    /// The first failure is the cause; those after it are often its consequence.
    failure: Mutex<Option<RunError>>,
    config: &'a RunConfig,
    tasks: &'a [Task],
    solver: &'a dyn Solver,
    progress: &'a dyn Progress,
    stop: &'a AtomicBool,
}

impl<'a> Floor<'a> {
    fn journal(&self) -> MutexGuard<'_, &'a mut Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, error: RunError) {
        self.stop.store(true, Ordering::SeqCst);
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn job(&self, index: usize) -> SessionJob<'_> {
        let cells = self.config.cells();
        SessionJob {
            index,
            task: &self.tasks[index / cells.len()],
            cell: &cells[index % cells.len()],
            seed: self.config.seed_of(&cells[index % cells.len()]),
            limits: self.config.limits(),
            stop: self.stop,
        }
    }

    /// Computes sessions until none is left. A worker takes no new one before its last one is recorded, so that a
    /// crash never costs more than the sessions in flight.
    fn work(&self) {
        while !self.stop.load(Ordering::SeqCst) {
            let turn = self.journal().claim_next(self.config.run.stop_when_solved.is_some());
            match turn {
                Ok(Turn::Session(index)) => self.session(index),
                Ok(Turn::Wait) => std::thread::sleep(PAUSE),
                Ok(Turn::Done) => break,
                Err(error) => self.fail(error),
            }
        }
    }

    /// What a session comes to that nobody else computes.
    fn outcome(&self, job: &SessionJob<'_>) -> Result<SessionOutcome, SolveError> {
        if let Some(solved) = self.config.run.stop_when_solved
            && !job.index.is_multiple_of(self.config.cells().len())
        {
            let first = solved_before(&self.journal(), solved, job.index);
            if let Some(first) = first.map_err(|error| SolveError::Failed(error.to_string()))? {
                return Ok(skipped(job, &first));
            }
        }
        self.progress.session_started(job);
        let outcome = catch_unwind(AssertUnwindSafe(|| self.solver.solve(job, self.progress)));
        outcome.unwrap_or_else(|panic| Err(SolveError::Failed(describe(&*panic))))
    }

    fn session(&self, index: usize) {
        let job = self.job(index);
        match self.outcome(&job) {
            Ok(outcome) => {
                let recorded = self.journal().record(index, &outcome);
                match recorded {
                    Ok(true) => self.progress.session_finished(index, &outcome.result, &outcome.timing),
                    Ok(false) => self.progress.session_left(index),
                    Err(error) => self.fail(error),
                }
            }
            Err(SolveError::Stopped) => {
                self.journal().give_back(index);
                self.progress.session_left(index);
            }
            Err(SolveError::Failed(reason)) => {
                self.journal().give_back(index);
                let (task, cell) = (job.task.id.clone(), job.cell.name.clone());
                self.fail(RunError::Session { index, task, cell, reason, finished: 0 });
            }
        }
    }

    /// Looks at what other processes do.
    fn look(&self) {
        let mut journal = self.journal();
        match journal.look() {
            Ok(finished) => self.progress.others(finished, journal.held_elsewhere()),
            Err(error) => {
                drop(journal);
                self.fail(error);
            }
        }
    }
}

fn describe(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("it panicked: {}", text.unwrap_or_else(|| "no message".to_owned()))
}
