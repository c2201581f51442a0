//! `vigor diff`: the traces of two runs, session by session.

use std::path::Path;

use super::ReportError;
use super::diverge::{Difference, first_difference};
use super::traces::Traces;
use crate::run::RunManifest;
use crate::session::trace::Event;

/// Which sessions are compared.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Only those of this task.
    pub task: Option<String>,
    /// Only those of this cell of the first run, with that of the second; else cells of the same name. Of two different cells the
    /// policies are not compared.
    pub cells: Option<(String, String)>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Sessions that both runs have.
    pub compared: usize,
    /// Those whose traces differ.
    pub differ: usize,
    /// What a reader should know.
    pub warnings: Vec<String>,
}

/// Compares the sessions that both runs have, in the order of the first; `tell` hears of each that differs. Of each run one session
/// is in memory at a time.
///
/// # Errors
/// When a run cannot be read, or has no task or cell of a name that is asked for, or no session is there to compare.
pub fn diff(
    a: &Path,
    b: &Path,
    asked: &Asked,
    mut tell: impl FnMut(&str, &Difference),
) -> Result<Outcome, ReportError> {
    let (first, second) = (RunManifest::load(a)?, RunManifest::load(b)?);
    let pairs = pairs(&first, &second, asked)?;
    let (mut of_a, mut of_b) = (Traces::open(a, &first)?, Traces::open(b, &second)?);
    let mut outcome = Outcome { compared: 0, differ: 0, warnings: Vec::new() };
    let (mut only_a, mut only_b) = (0, 0);
    for (x, y) in pairs {
        match (of_a.session(x)?, of_b.session(y)?) {
            (Some(events), Some(mut others)) => {
                outcome.compared += 1;
                if asked.cells.as_ref().is_some_and(|(x, y)| x != y) {
                    share_policy(&events, &mut others);
                }
                if let Some(difference) = first_difference(&events, &others) {
                    outcome.differ += 1;
                    tell(&first.session_name(x), &difference);
                }
            }
            (Some(_), None) => only_a += 1,
            (None, Some(_)) => only_b += 1,
            (None, None) => {}
        }
    }
    outcome.warnings.extend(of_a.warnings);
    outcome.warnings.extend(of_b.warnings);
    for (count, dir) in [(only_a, a), (only_b, b)] {
        if count > 0 {
            outcome.warnings.push(format!("{count} sessions have a trace in {} only", dir.display()));
        }
    }
    if outcome.compared == 0 {
        return Err(ReportError::NothingShared { a: a.to_owned(), b: b.to_owned() });
    }
    Ok(outcome)
}

/// Gives one trace the policy of another: that two cells have different ones is known to whoever compares them.
fn share_policy(of: &[Event], to: &mut [Event]) {
    if let (Some(Event::Start(from)), Some(Event::Start(start))) = (of.first(), to.first_mut()) {
        start.policy.clone_from(&from.policy);
    }
}

/// Numbers of the sessions in both runs.
fn pairs(a: &RunManifest, b: &RunManifest, asked: &Asked) -> Result<Vec<(usize, usize)>, ReportError> {
    let find = |manifest: &RunManifest, cell: &str| {
        let typed = cell.replace("gamma=", "γ=");
        let found = manifest.cells.iter().position(|c| c.name == cell || c.name == typed);
        found.ok_or_else(|| ReportError::NoCell {
            name: cell.to_owned(),
            known: manifest.cells.iter().map(|cell| cell.name.clone()).collect(),
        })
    };
    let cells: Vec<(usize, usize)> = match &asked.cells {
        Some((x, y)) => vec![(find(a, x)?, find(b, y)?)],
        None => {
            let same = |(at, cell): (usize, &crate::run::Cell)| {
                Some((at, b.cells.iter().position(|other| other.name == cell.name)?))
            };
            a.cells.iter().enumerate().filter_map(same).collect()
        }
    };
    if let Some(task) = &asked.task
        && !(a.task_ids.contains(task) && b.task_ids.contains(task))
    {
        return Err(ReportError::NoTask { task: task.clone() });
    }
    let places: std::collections::HashMap<&str, usize> =
        b.task_ids.iter().map(String::as_str).zip(0..).collect();
    let wanted = |task: &String| asked.task.as_ref().is_none_or(|wanted| wanted == task);
    let mut pairs = Vec::new();
    for (x, task) in a.task_ids.iter().enumerate().filter(|(_, task)| wanted(task)) {
        let Some(&y) = places.get(task.as_str()) else { continue };
        pairs.extend(cells.iter().map(|(c, d)| (x * a.cells.len() + c, y * b.cells.len() + d)));
    }
    Ok(pairs)
}
