//! Leaving a task once a cell has solved it (`stop_when_solved`).
//!
//! A skip may depend on nothing but the earlier cells of the same task, so that a run comes to the same whatever runs
//! beside it: the cells of a task run one after the other, in one [`Batch`].

use super::config::Solved;
use super::error::RunError;
use super::execute::{SessionJob, SessionOutcome};
use super::files::{ResultRow, TimingRow};
use super::journal::Journal;
use crate::session::trace::SessionKey;

/// What a worker takes at a time.
pub(super) struct Batch {
    /// One session; or all sessions of a task that are left, in order, where cells may be skipped.
    pub sessions: Vec<usize>,
    stop_when: Option<Solved>,
    /// The first cell that has solved the task, as far as is known.
    first: Option<usize>,
}

impl Batch {
    /// The pending sessions in batches; `cells` a task.
    pub(super) fn all(
        journal: &Journal,
        pending: &[usize],
        cells: usize,
        stop_when: Option<Solved>,
    ) -> Result<Vec<Self>, RunError> {
        let Some(solved) = stop_when else {
            let one = |&index: &usize| Self { sessions: vec![index], stop_when, first: None };
            return Ok(pending.iter().map(one).collect());
        };
        let mut batches = Vec::new();
        for sessions in pending.chunk_by(|a, b| a / cells == b / cells) {
            let mut batch = Self { sessions: sessions.to_vec(), stop_when, first: None };
            let start = sessions[0] / cells * cells;
            for cell in (0..cells).filter(|cell| !sessions.contains(&(start + cell))) {
                if solved.by(&journal.result(start + cell)?) {
                    batch.first = Some(cell);
                    break;
                }
            }
            batches.push(batch);
        }
        Ok(batches)
    }

    /// The cell because of which a later one is to be skipped.
    pub(super) fn solved_before(&self, cell: usize) -> Option<usize> {
        self.first.filter(|&first| first < cell)
    }

    /// Takes note of what a cell came to.
    pub(super) fn note(&mut self, cell: usize, row: &ResultRow) {
        if self.stop_when.is_some_and(|solved| solved.by(row)) {
            self.first = Some(self.first.map_or(cell, |first| first.min(cell)));
        }
    }
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
