//! Reads a run's files, and says where one of them is wrong.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ReportError;
use crate::run::files::{ResultRow, TimingRow};
use crate::run::{RunError, RunManifest};
use crate::session::trace::{Event, SCHEMA_VERSION, SessionKey, TraceLine};

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
    /// Session of (task, cell).
    index: HashMap<(String, String), usize>,
}

impl RunFiles {
    /// Reads everything but the trace.
    ///
    /// # Errors
    /// When a file is missing, malformed, of a newer schema, or does not fit the manifest.
    pub fn load(dir: &Path) -> Result<Self, ReportError> {
        let manifest = RunManifest::load(dir)?;
        let total = manifest.sessions();
        let pairs = manifest
            .task_ids
            .iter()
            .flat_map(|task| manifest.cells.iter().map(|cell| (task.clone(), cell.name.clone())));
        let index = pairs.zip(0..).collect();
        let mut run = Self {
            dir: dir.to_owned(),
            manifest,
            results: vec![None; total],
            skipped: vec![None; total],
            timings: vec![None; total],
            warnings: Vec::new(),
            index,
        };
        let mut results: Vec<Option<ResultRow>> = vec![None; total];
        let mut warnings = run.place("results.jsonl", &mut results, |row| &row.session)?;
        let mut timings: Vec<Option<TimingRow>> = vec![None; total];
        warnings.extend(run.place("timings.jsonl", &mut timings, |row| &row.session)?);
        let skipped: Vec<_> = results.iter_mut().map(|row| row.take_if(|row| row.is_skipped())).collect();
        let not_run = skipped.iter().flatten().count();
        if not_run > 0 {
            warnings.push(format!(
                "{not_run} of {total} sessions were skipped because an earlier cell had solved their task \
                 (stop_when_solved); a cell's rate is that of the tasks which were left to it, not pass@1, and cells \
                 are not compared"
            ));
        }
        let finished = results.iter().flatten().count() + not_run;
        if finished < total {
            warnings.push(format!("{finished} of {total} sessions are finished; the numbers are of those"));
        }
        (run.results, run.skipped, run.timings, run.warnings) = (results, skipped, timings, warnings);
        Ok(run)
    }

    /// Reads rows into their sessions' places.
    fn place<T: DeserializeOwned>(
        &self,
        name: &str,
        places: &mut [Option<T>],
        key: impl Fn(&T) -> &SessionKey,
    ) -> Result<Vec<String>, ReportError> {
        let path = self.dir.join(name);
        let warning = each_line(&path, |line, row: T| {
            let session = self.session(&path, line, key(&row))?;
            if places[session].replace(row).is_some() {
                let reason = "a second line for the same session".to_owned();
                return Err(ReportError::Inconsistent { path: path.clone(), line, reason });
            }
            Ok(())
        })?;
        Ok(warning.into_iter().collect())
    }

    /// Gives each session's events, in the file's order, to `visit`; returns warnings.
    pub fn each_trace(
        &self,
        mut visit: impl FnMut(usize, &[Event]) -> Result<(), ReportError>,
    ) -> Result<Vec<String>, ReportError> {
        let path = self.dir.join("trace.jsonl");
        let mut seen = vec![false; self.manifest.sessions()];
        let mut current: Option<(usize, Vec<Event>)> = None;
        let warning = each_line(&path, |line, event: TraceLine| {
            let session = self.session(&path, line, &event.session)?;
            if let Event::Start(start) = &event.event
                && start.schema > SCHEMA_VERSION
            {
                let found = u64::from(start.schema);
                return Err(RunError::NewerSchema { path: path.clone(), found, known: SCHEMA_VERSION }.into());
            }
            match &mut current {
                Some((open, events)) if *open == session => events.push(event.event),
                _ => {
                    if let Some((done, events)) = current.take() {
                        visit(done, &events)?;
                    }
                    if std::mem::replace(&mut seen[session], true) {
                        let reason = "an event of a session that ended before".to_owned();
                        return Err(ReportError::Inconsistent { path: path.clone(), line, reason });
                    }
                    current = Some((session, vec![event.event]));
                }
            }
            Ok(())
        })?;
        if let Some((done, events)) = current {
            visit(done, &events)?;
        }
        Ok(warning.into_iter().collect())
    }

    fn session(&self, path: &Path, line: usize, key: &SessionKey) -> Result<usize, ReportError> {
        self.index.get(&(key.task_id.clone(), key.cell.clone())).copied().ok_or_else(|| {
            ReportError::Inconsistent {
                path: path.to_owned(),
                line,
                reason: format!(
                    "run_manifest.json has no session of task {:?}, cell {:?}",
                    key.task_id, key.cell
                ),
            }
        })
    }
}

/// Gives each line's value and number to `visit`. A last line without its newline is what an interrupted
/// write leaves: it is left out, with a warning.
fn each_line<T: DeserializeOwned>(
    path: &Path,
    mut visit: impl FnMut(usize, T) -> Result<(), ReportError>,
) -> Result<Option<String>, ReportError> {
    let file = File::open(path).map_err(|e| RunError::io("read", path, e))?;
    let mut reader = BufReader::new(file);
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
        let value = serde_json::from_slice(&bytes).map_err(|source| malformed(path, line, &bytes, source))?;
        visit(line, value)?;
    }
    Ok(None)
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
