//! Runs the sessions of an experiment on worker threads and records them as they finish.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};

use thiserror::Error;

use super::config::{DatasetSection, RunConfig};
use super::error::RunError;
use super::files::{ResultRow, TimingRow};
use super::grid::Cell;
use super::journal::Journal;
use super::skip::{Batch, skipped};
use crate::session::method::Limits;
use crate::session::trace::TraceLine;
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
    /// The step, from 0.
    pub step: usize,
    /// The line that was committed.
    pub line: &'a str,
    /// Tokens generated so far.
    pub tokens: usize,
}

/// Watches a run. Called from several threads; every method does nothing unless implemented.
pub trait Progress: Sync {
    /// The run begins, or goes on: so many sessions in all, so many already finished.
    fn run_started(&self, _total: usize, _finished: usize) {}
    /// A session begins.
    fn session_started(&self, _job: &SessionJob) {}
    /// A session committed a line.
    fn step(&self, _step: &StepProgress) {}
    /// A session is finished and recorded.
    fn session_finished(&self, _index: usize, _result: &ResultRow, _timing: &TimingRow) {}
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {}

/// How far a run came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Sessions of the run.
    pub sessions: usize,
    /// Sessions that were finished before.
    pub resumed: usize,
    /// Sessions that are finished now.
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

/// Runs all sessions that the journal lacks, `concurrency` at once, and records them.
///
/// Sessions are given out in order and recorded as they finish; what is written does not depend on either. Where cells are
/// skipped once a task is solved, whole tasks are given out, so that a skip depends on earlier cells alone.
/// When `stop` becomes true no further session begins, running ones are abandoned, and the summary says how
/// far the run came; the same call with the journal opened again goes on from there. `stop` is also set by
/// this function when a session or a write fails, to end the sessions in flight.
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
    let cells = config.cells();
    let sessions = tasks.len() * cells.len();
    let resumed = journal.finished();
    let pending = journal.pending();
    progress.run_started(sessions, resumed);

    let job = |index: usize| SessionJob {
        index,
        task: &tasks[index / cells.len()],
        cell: &cells[index % cells.len()],
        seed: config.seed_of(&cells[index % cells.len()]),
        limits: config.limits(),
        stop,
    };
    let batches = Batch::all(journal, &pending, cells.len(), config.run.stop_when_solved)?;
    let workers = config.run.concurrency.min(batches.len());
    let batches = Mutex::new(batches.into_iter());
    let next = || batches.lock().unwrap_or_else(PoisonError::into_inner).next();
    // No room in the channel: a worker takes no new session before its last one is being recorded, so that
    // a crash never costs more than the sessions in flight.
    let (sender, receiver) = mpsc::sync_channel(0);
    let mut failure = None;
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let sender = sender.clone();
            scope.spawn(|| {
                let sender = sender;
                while let Some(mut batch) = next() {
                    for index in std::mem::take(&mut batch.sessions) {
                        if stop.load(Ordering::SeqCst) {
                            return;
                        }
                        let (job, cell) = (job(index), index % cells.len());
                        let outcome = match batch.solved_before(cell) {
                            Some(first) => Ok(skipped(&job, &cells[first].name)),
                            None => {
                                progress.session_started(&job);
                                let outcome = catch_unwind(AssertUnwindSafe(|| solver.solve(&job, progress)));
                                outcome.unwrap_or_else(|panic| Err(SolveError::Failed(describe(&*panic))))
                            }
                        };
                        match &outcome {
                            Ok(outcome) => batch.note(cell, &outcome.result),
                            Err(SolveError::Failed(_)) => stop.store(true, Ordering::SeqCst),
                            Err(SolveError::Stopped) => {}
                        }
                        if sender.send((index, outcome)).is_err() {
                            return;
                        }
                    }
                }
            });
        }
        drop(sender);
        for (index, outcome) in receiver {
            let recorded = match outcome {
                Ok(outcome) if !matches!(failure, Some(RunError::Io { .. })) => {
                    journal.record(index, &outcome).map(|()| {
                        progress.session_finished(index, &outcome.result, &outcome.timing);
                    })
                }
                Ok(_) | Err(SolveError::Stopped) => Ok(()),
                Err(SolveError::Failed(reason)) => Err(RunError::Session {
                    index,
                    task: job(index).task.id.clone(),
                    cell: job(index).cell.name.clone(),
                    reason,
                    finished: 0,
                }),
            };
            if let Err(error) = recorded {
                stop.store(true, Ordering::SeqCst);
                // The first failure is the cause; those after it are often its consequence.
                failure.get_or_insert(error);
            }
        }
    });
    match failure {
        Some(RunError::Session { index, task, cell, reason, .. }) => {
            Err(RunError::Session { index, task, cell, reason, finished: journal.finished() })
        }
        Some(error) => Err(error),
        None => {
            journal.sync()?;
            Ok(Summary { sessions, resumed, finished: journal.finished() })
        }
    }
}

fn describe(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("it panicked: {}", text.unwrap_or_else(|| "no message".to_owned()))
}
