//! Leaving a task once a cell has solved it (`stop_when_solved`).
//!
//! A skip may depend on nothing but the earlier cells of the same task, so that a run comes to the same whatever runs
//! beside it: the cells of a task run one after the other ([`Journal::claim_next`]).

use super::config::Solved;
use super::error::RunError;
use super::execute::{SessionJob, SessionOutcome};
use super::files::{ResultRow, TimingRow};
use super::journal::Journal;
use crate::session::trace::{EndReason, SessionKey};

/// Name of the first of the earlier cells that has solved the task of session `index`, which is not the task's first.
///
/// The session before it tells: it was skipped itself, and says because of whom; or it ran, so that none before it had
/// solved the task.
pub(super) fn solved_before(
    journal: &Journal,
    solved: Solved,
    index: usize,
) -> Result<Option<String>, RunError> {
    let before = journal.result(index - 1)?;
    let solved_it = solved.by(&before).then_some(before.session.cell);
    Ok(if before.end == EndReason::Skipped { before.solved_by } else { solved_it })
}

/// The outcome of a session that is not run because the cell named `solved_by` has solved its task.
pub(super) fn skipped(job: &SessionJob, solved_by: &str) -> SessionOutcome {
    let key = SessionKey {
        task_id: job.task.id.clone(),
        cell: job.cell.name.clone(),
        method: job.cell.config.name().to_owned(),
        gamma: job.cell.config.gamma(),
        seed: job.seed,
    };
    let guided = !job.task.guiding_tests.is_empty();
    let result = ResultRow::skipped(key.clone(), guided, solved_by);
    SessionOutcome { result, events: Vec::new(), timing: TimingRow::skipped(key) }
}
