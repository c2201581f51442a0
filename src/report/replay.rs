//! Replay of a whole run: every decision of every session, and whether the run's files agree with each other.

use super::ReportError;
use super::read::RunFiles;
use crate::run::Cell;
use crate::run::config::Solved;
use crate::run::files::ResultRow;
use crate::session::method::MethodConfig;
use crate::session::replay::{Difference, replay};
use crate::session::style::PromptStyle;
use crate::session::tester::Score;
use crate::session::trace::Event;

/// What the replay of a run found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunReplay {
    /// Sessions with a trace.
    pub sessions: usize,
    /// Decisions derived again.
    pub decisions: usize,
    /// Sessions that were skipped, of which it was derived again that they had to be.
    pub skipped: usize,
    /// What differs, with the number of its session.
    pub differences: Vec<(usize, Difference)>,
}

/// Derives every decision of a run again from its trace, and compares trace, results and manifest.
///
/// # Errors
/// A file cannot be read, or is malformed. What was recorded and does not follow is no error but a difference.
pub fn replay_run(run: &RunFiles) -> Result<RunReplay, ReportError> {
    let mut replayed = RunReplay::default();
    let mut traced = vec![false; run.manifest.sessions()];
    run.each_trace(|index, events| {
        let session = replay(events);
        replayed.sessions += 1;
        replayed.decisions += session.decisions;
        replayed.differences.extend(session.differences.into_iter().map(|difference| (index, difference)));
        replayed.differences.extend(of_policy(run, index, events).map(|what| (index, whole(what))));
        if let Some(row) = &run.results[index] {
            replayed.differences.extend(of_result(row, events).map(|what| (index, whole(what))));
        }
        traced[index] = true;
        Ok(())
    })?;
    let stop_when: Option<Solved> = run
        .manifest
        .configuration
        .pointer("/run/stop_when_solved")
        .and_then(|value| serde_json::from_value(value.clone()).ok());
    for (index, traced) in traced.into_iter().enumerate() {
        let key = run.results[index].as_ref().or(run.skipped[index].as_ref());
        let faults = [
            key.and_then(|row| of_key(run, index, row)),
            (run.results[index].is_some() && !traced).then(|| "it has a result and no trace".to_owned()),
            of_skip(run, index, stop_when),
        ];
        replayed.differences.extend(faults.into_iter().flatten().map(|what| (index, whole(what))));
    }
    replayed.skipped = run.skipped.iter().flatten().count();
    replayed.differences.sort_by_key(|(index, difference)| (*index, difference.step));
    Ok(replayed)
}

fn whole(what: String) -> Difference {
    Difference { step: None, what }
}

/// The cell of a session.
fn cell_of(run: &RunFiles, index: usize) -> &Cell {
    &run.manifest.cells[index % run.manifest.cells.len()]
}

/// What a session's trace says of its method, against the cell.
fn of_policy(run: &RunFiles, index: usize, events: &[Event]) -> Option<String> {
    let Some(Event::Start(start)) = events.first() else { return None };
    let cell = cell_of(run, index);
    let read = |key: &str| start.policy.get(key).cloned();
    let method: Option<MethodConfig> = read("method").and_then(|method| serde_json::from_value(method).ok());
    if method.is_some_and(|method| method != cell.config) {
        return Some("the trace says that another method ran than the manifest's cell has".to_owned());
    }
    let prompt =
        read("prompt").map_or(Some(PromptStyle::Default), |prompt| serde_json::from_value(prompt).ok());
    (prompt != Some(cell.prompt))
        .then(|| format!("the trace has another style of prompt than its cell, {}", cell.prompt.name()))
}

/// A session's result against its trace.
fn of_result(row: &ResultRow, events: &[Event]) -> Option<String> {
    let steps =
        || events.iter().filter_map(|event| if let Event::Step(step) = event { Some(step) } else { None });
    let committed: usize = steps().map(|step| step.decision.tokens.len()).sum();
    let differs = |what: &str| Some(format!("the result has {what} than the trace"));
    if let Some(Event::End(end)) = events.last() {
        if end.program != row.program {
            return differs("another program");
        }
        if end.reason != row.end {
            return differs("another end");
        }
    }
    if steps().count() != row.steps {
        return differs("another number of steps");
    }
    if committed != row.committed_tokens {
        return differs("another number of committed tokens");
    }
    let passed = [(&row.guiding, row.passed_guiding), (&row.held_out, row.passed_held_out)];
    let told = |(tests, passed): &(&Vec<_>, bool)| Score::all_passed(tests) == *passed;
    (!passed.iter().all(told)).then(|| "the result does not follow from its verdicts".to_owned())
}

/// A session's key against its cell.
fn of_key(run: &RunFiles, index: usize, row: &ResultRow) -> Option<String> {
    let (key, cell) = (&row.session, cell_of(run, index));
    let same = key.method == cell.config.name()
        && key.gamma == cell.config.gamma()
        && key.seed == run.manifest.seed_of(cell);
    (!same).then(|| "method, γ or seed of the result are not those of its cell".to_owned())
}

/// Whether a session had to be skipped, and whether it was.
fn of_skip(run: &RunFiles, index: usize, stop_when: Option<Solved>) -> Option<String> {
    let first = index - index % run.manifest.cells.len();
    let solves = |i: &usize| {
        let solved = |row: &ResultRow| stop_when.is_some_and(|tests| tests.by(row));
        run.results[*i].as_ref().is_some_and(solved)
    };
    let by = (first..index).find(solves).map(|i| &run.manifest.cells[i - first].name);
    match (&run.skipped[index], by) {
        (None, Some(cell)) if run.results[index].is_some() => {
            Some(format!("it ran, although the cell {cell:?} had solved its task"))
        }
        (Some(row), by) if row.solved_by.as_ref() != by => {
            let by = by.map_or("no cell".to_owned(), |cell| format!("the cell {cell:?}"));
            Some(format!(
                "it was skipped for {:?}; {by} had solved its task",
                row.solved_by.as_deref().unwrap_or("")
            ))
        }
        _ => None,
    }
}
