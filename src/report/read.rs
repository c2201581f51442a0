//! Reads a run's files, and says where one of them is wrong.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::ReportError;
use crate::run::files::{ResultRow, TimingRow};
use crate::run::{RunError, RunManifest};
use crate::session::trace::{EndReason, Event, SCHEMA_VERSION, TraceLine};

/// Which session of a run a line belongs to: sessions are numbered task by task.
#[derive(Debug)]
pub(super) struct Sessions {
    tasks: HashMap<String, usize>,
    cells: HashMap<String, usize>,
}

impl Sessions {
    pub(super) fn new(manifest: &RunManifest) -> Self {
        let tasks = manifest.task_ids.iter().cloned().zip(0..).collect();
        let cells = manifest.cells.iter().map(|cell| cell.name.clone()).zip(0..).collect();
        Self { tasks, cells }
    }

    /// The number of a session named on line `line` of `path`.
    pub(super) fn find(
        &self,
        path: &Path,
        line: usize,
        task: &str,
        cell: &str,
    ) -> Result<usize, ReportError> {
        match (self.tasks.get(task), self.cells.get(cell)) {
            (Some(task), Some(cell)) => Ok(task * self.cells.len() + cell),
            _ => Err(ReportError::Inconsistent {
                path: path.to_owned(),
                line,
                reason: format!("run_manifest.json has no session of task {task:?}, cell {cell:?}"),
            }),
        }
    }
}

/// A run as its files tell it. Traces are read one session at a time, as they may be large.
#[derive(Debug)]
pub struct RunFiles {
    dir: PathBuf,
    /// What the run was made of.
    pub manifest: RunManifest,
    /// The result of each session, in session order; `None` where it is not finished or was skipped.
    pub results: Vec<Option<ResultRow>>,
    /// The row of each session that was skipped. Kept apart, so that none is counted as an attempt.
    pub skipped: Vec<Option<ResultRow>>,
    /// The timing of each session.
    pub timings: Vec<Option<TimingRow>>,
    /// What a reader should know.
    pub warnings: Vec<String>,
    sessions: Sessions,
}

impl RunFiles {
    /// Reads everything but the trace.
    ///
    /// # Errors
    /// When a file is missing, malformed, of a newer schema, or does not fit the manifest.
    pub fn load(dir: &Path) -> Result<Self, ReportError> {
        let manifest = RunManifest::load(dir)?;
        let total = manifest.sessions();
        let sessions = Sessions::new(&manifest);
        let mut results: Vec<Option<ResultRow>> = vec![None; total];
        let mut timings: Vec<Option<TimingRow>> = vec![None; total];
        let mut warnings = Vec::new();
        let path = dir.join("results.jsonl");
        warnings.extend(each_line(&path, |line, bytes| {
            let row: ResultRow = parse(&path, line, bytes)?;
            let session = sessions.find(&path, line, &row.session.task_id, &row.session.cell)?;
            place(&mut results, session, row, &path, line)
        })?);
        let path = dir.join("timings.jsonl");
        warnings.extend(each_line(&path, |line, bytes| {
            let row: TimingRow = parse(&path, line, bytes)?;
            let session = sessions.find(&path, line, &row.session.task_id, &row.session.cell)?;
            place(&mut timings, session, row, &path, line)
        })?);
        let mut doubts = Doubts::default();
        for row in results.iter().flatten() {
            let mut verdicts = row.guiding.iter().chain(&row.held_out);
            doubts.unjudged += usize::from(verdicts.any(|verdict| verdict.kind == HARNESS_ERROR));
            doubts.by_time += usize::from(row.end == EndReason::TimeBudget);
        }
        warnings.extend(doubts.warnings());
        let skipped: Vec<_> = results.iter_mut().map(|row| row.take_if(|row| row.is_skipped())).collect();
        let not_run = skipped.iter().flatten().count();
        if not_run > 0 {
            warnings.push(format!(
                "{not_run} of {total} sessions were skipped because an earlier cell had solved their task \
                 (stop_when_solved); a cell's rate is that of the tasks which were left to it, not pass@1, and cells \
                 are not compared"
            ));
        }
        warnings.extend(unfinished(results.iter().flatten().count() + not_run, total));
        Ok(Self { dir: dir.to_owned(), manifest, results, skipped, timings, warnings, sessions })
    }

    /// Gives each session's events, in the file's order, to `visit`; returns warnings.
    pub fn each_trace(
        &self,
        mut visit: impl FnMut(usize, &[Event]) -> Result<(), ReportError>,
    ) -> Result<Vec<String>, ReportError> {
        let path = self.dir.join("trace.jsonl");
        let mut seen = vec![false; self.manifest.sessions()];
        let mut current: Option<(usize, Vec<Event>)> = None;
        let warning = each_line(&path, |line, bytes| {
            let TraceLine { session, event } = parse(&path, line, bytes)?;
            let session = self.sessions.find(&path, line, &session.task_id, &session.cell)?;
            known_schema(&path, &event)?;
            match &mut current {
                Some((open, events)) if *open == session => events.push(event),
                _ => {
                    if let Some((done, events)) = current.take() {
                        visit(done, &events)?;
                    }
                    if std::mem::replace(&mut seen[session], true) {
                        return Err(ended_before(&path, line));
                    }
                    current = Some((session, vec![event]));
                }
            }
            Ok(())
        })?;
        if let Some((done, events)) = current {
            visit(done, &events)?;
        }
        Ok(warning.into_iter().collect())
    }
}

/// Puts a row into its session's place, which must be free.
pub(super) fn place<T>(
    places: &mut [Option<T>],
    session: usize,
    row: T,
    path: &Path,
    line: usize,
) -> Result<(), ReportError> {
    match places[session].replace(row) {
        None => Ok(()),
        Some(_) => {
            let reason = "a second line for the same session".to_owned();
            Err(ReportError::Inconsistent { path: path.to_owned(), line, reason })
        }
    }
}

/// What is wrong with an event whose session had events, and then another session.
pub(super) fn ended_before(path: &Path, line: usize) -> ReportError {
    let reason = "an event of a session that ended before".to_owned();
    ReportError::Inconsistent { path: path.to_owned(), line, reason }
}

/// The verdict of a test that could not be judged.
pub(super) const HARNESS_ERROR: &str = "harness_error";

/// Sessions whose numbers say less than others'.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// With a test that could not be judged.
    pub unjudged: usize,
    /// Ended by the clock.
    pub by_time: usize,
}

impl Doubts {
    pub(super) fn warnings(&self) -> Vec<String> {
        let note = |count: usize, what: &str| (count > 0).then(|| format!("{count} sessions {what}"));
        let unjudged = "have tests that could not be judged (harness_error): the harness, the machine or the test is at fault; they count \
                        as not passed";
        let by_time = "were ended by max_seconds: another time or another machine gives other results";
        [note(self.unjudged, unjudged), note(self.by_time, by_time)].into_iter().flatten().collect()
    }
}

/// The warning about sessions that are not finished.
pub(super) fn unfinished(finished: usize, total: usize) -> Option<String> {
    (finished < total)
        .then(|| format!("{finished} of {total} sessions are finished; the numbers are of those"))
}

/// Refuses the trace of a later version.
pub(super) fn known_schema(path: &Path, event: &Event) -> Result<(), RunError> {
    match event {
        Event::Start(start) if start.schema > SCHEMA_VERSION => Err(RunError::NewerSchema {
            path: path.to_owned(),
            found: u64::from(start.schema),
            known: SCHEMA_VERSION,
        }),
        _ => Ok(()),
    }
}

/// Gives each line and its number, from 1, to `visit`. A last line without its newline is what an interrupted
/// write leaves: it is left out, with a warning.
pub(super) fn each_line(
    path: &Path,
    mut visit: impl FnMut(usize, &[u8]) -> Result<(), ReportError>,
) -> Result<Option<String>, ReportError> {
    let file = File::open(path).map_err(|e| RunError::io("read", path, e))?;
    let mut reader = BufReader::with_capacity(1 << 18, file);
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        reader.read_until(b'\n', &mut bytes).map_err(|e| RunError::io("read", path, e))?;
        if bytes.is_empty() {
            break;
        }
        if !bytes.ends_with(b"\n") {
            return Ok(Some(format!(
                "{}:{line} is incomplete and left out; the run was interrupted or is still writing",
                path.display()
            )));
        }
        visit(line, &bytes)?;
    }
    Ok(None)
}

/// What a line says, or that it is malformed.
pub(super) fn parse<'a, T: Deserialize<'a>>(
    path: &Path,
    line: usize,
    bytes: &'a [u8],
) -> Result<T, RunError> {
    serde_json::from_slice(bytes).map_err(|source| malformed(path, line, bytes, source))
}

/// A line of a newer schema need not fit today's types, so the version is looked for before complaining.
fn malformed(path: &Path, line: usize, bytes: &[u8], source: serde_json::Error) -> RunError {
    let value: Option<Value> = serde_json::from_slice(bytes).ok();
    match value.as_ref().and_then(|value| value.get("schema")).and_then(Value::as_u64) {
        Some(found) if found > u64::from(SCHEMA_VERSION) => {
            RunError::NewerSchema { path: path.to_owned(), found, known: SCHEMA_VERSION }
        }
        _ => RunError::Malformed { path: path.to_owned(), line, source },
    }
}
