//! The folder `sessions/`: one file a finished session, whole or absent, and never changed once it is there.
//!
//! A session's file holds the very lines that go out, not values that would have to be written again:
//! `{"session":12,"events":3}`, the result, the timing, then the events.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::RunError;
use super::execute::SessionOutcome;
use super::files::{ResultRow, TimingRow};
use crate::session::trace::{EndReason, TraceLine};

/// The header of a session's file.
#[derive(Serialize, Deserialize)]
struct Header {
    session: usize,
    events: usize,
}

/// The lines of one finished session, ready to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lines {
    /// For `results.jsonl`, `trace.jsonl`, `timings.jsonl`, each with its newlines.
    pub outputs: [String; 3],
}

impl Lines {
    /// True when both tell the same of the session. How long it took is nobody's contradiction.
    pub fn agree(&self, other: &Self) -> bool {
        self.outputs[..2] == other.outputs[..2]
    }

    /// True when a limit of time ended the session, so that computing it again need not give the same.
    pub fn ended_by_time(&self) -> bool {
        let result: Option<ResultRow> = serde_json::from_str(&self.outputs[0]).ok();
        result.is_some_and(|result| result.end == EndReason::TimeBudget)
    }
}

/// The folder of the session files.
#[derive(Debug)]
pub(super) struct SessionFiles {
    dir: PathBuf,
}

impl SessionFiles {
    /// Those of the run in folder `run_dir`.
    pub fn of(run_dir: &Path) -> Self {
        Self { dir: run_dir.join("sessions") }
    }

    pub fn create(&self) -> Result<(), RunError> {
        std::fs::create_dir_all(&self.dir).map_err(|e| RunError::io("create", &self.dir, e))
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn path(&self, index: usize) -> PathBuf {
        self.dir.join(format!("{index:06}.jsonl"))
    }

    /// True when the session is finished.
    pub fn has(&self, index: usize) -> bool {
        self.path(index).exists()
    }

    /// Which of the `total` sessions of a run are finished.
    pub fn finished(&self, total: usize) -> Result<Vec<bool>, RunError> {
        let mut finished = vec![false; total];
        for path in self.files()? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if let Some(index) = name.strip_suffix(".jsonl").and_then(|stem| stem.parse::<usize>().ok()) {
                let reason = format!("the run has {total} sessions, counted from 0");
                *finished.get_mut(index).ok_or(RunError::Journal { path: path.clone(), reason })? = true;
            }
        }
        Ok(finished)
    }

    /// Removes what processes that were killed while they wrote have left; `alive` says who may still write.
    pub fn sweep(&self, alive: impl Fn(&str) -> bool) -> Result<(), RunError> {
        for path in self.files()? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let unfinished = name.strip_suffix(".tmp");
            let writer = unfinished.map(|name| name.split_once('.').map_or("", |(_, writer)| writer));
            if writer.is_some_and(|writer| !alive(writer)) {
                match std::fs::remove_file(&path) {
                    Err(e) if e.kind() != ErrorKind::NotFound => {
                        return Err(RunError::io("remove", &path, e));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn files(&self) -> Result<Vec<PathBuf>, RunError> {
        let fail = |e| RunError::io("read", &self.dir, e);
        let entries = std::fs::read_dir(&self.dir).map_err(fail)?;
        entries.map(|entry| entry.map(|entry| entry.path()).map_err(fail)).collect()
    }

    /// Adds a session's file, durably, unless it is there already: then false. `writer` names this process. Of two
    /// processes that add the same session, one wins, and what it wrote is never replaced.
    pub fn add(&self, index: usize, text: &str, writer: &str) -> Result<bool, RunError> {
        let path = self.path(index);
        let temporary = self.dir.join(format!("{index:06}.{writer}.tmp"));
        let add = || {
            let mut file = File::create(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            let added = match std::fs::hard_link(&temporary, &path) {
                Ok(()) => true,
                Err(e) if e.kind() == ErrorKind::AlreadyExists => false,
                // Or this process was stopped for long, and its unfinished file was taken for that of a dead one.
                Err(_) if path.exists() => false,
                // Some file systems have no links. The claims make it rare that two processes come here with one
                // session; if they do, the later file replaces the earlier one, which tells the same.
                Err(_) => {
                    std::fs::rename(&temporary, &path)?;
                    return File::open(&self.dir)?.sync_all().map(|()| true);
                }
            };
            let _ = std::fs::remove_file(&temporary);
            // The name is durable only when the folder is.
            File::open(&self.dir)?.sync_all()?;
            Ok(added)
        };
        add().map_err(|e| {
            // Best effort: on a full disk the space matters, and opening the run removes what is left anyway.
            let _ = std::fs::remove_file(&temporary);
            RunError::io("write", &path, e)
        })
    }

    /// The text of a session's file, unchecked.
    pub fn text(&self, index: usize) -> Result<String, RunError> {
        let path = self.path(index);
        std::fs::read_to_string(&path).map_err(|e| RunError::io("read", &path, e))
    }

    pub fn read(&self, index: usize) -> Result<Lines, RunError> {
        split(index, &self.text(index)?).map_err(|reason| {
            let path = self.path(index);
            RunError::Journal { path, reason: reason.into() }
        })
    }

    /// The result in a session's file, without the rest of it.
    fn result(&self, index: usize) -> Result<ResultRow, RunError> {
        let path = self.path(index);
        let line = File::open(&path).and_then(|file| BufReader::new(file).lines().nth(1).transpose());
        let line = line.map_err(|e| RunError::io("read", &path, e))?.unwrap_or_default();
        serde_json::from_str(&line).map_err(|source| RunError::Malformed { path, line: 2, source })
    }

    /// What a session's file is to hold.
    pub fn serialise(&self, index: usize, outcome: &SessionOutcome) -> Result<String, RunError> {
        let path = self.path(index);
        let mut text = String::new();
        add_line(&mut text, &path, &Header { session: index, events: outcome.events.len() })?;
        add_line::<ResultRow>(&mut text, &path, &outcome.result)?;
        add_line::<TimingRow>(&mut text, &path, &outcome.timing)?;
        for event in &outcome.events {
            add_line::<TraceLine>(&mut text, &path, event)?;
        }
        Ok(text)
    }
}

/// Results of finished sessions of the run in `run_dir`, which has `sessions` of them: the first `limit` of those that are
/// not `known`, each with its number. Only the beginning of their files is read, and processes may add to them meanwhile.
///
/// # Errors
/// When the folder or a file cannot be read or is malformed.
pub fn finished_results(
    run_dir: &Path,
    sessions: usize,
    known: impl Fn(usize) -> bool,
    limit: usize,
) -> Result<Vec<(usize, ResultRow)>, RunError> {
    let files = SessionFiles::of(run_dir);
    let finished = files.finished(sessions)?;
    let new = (0..sessions).filter(|&index| finished[index] && !known(index)).take(limit);
    new.map(|index| files.result(index).map(|result| (index, result))).collect()
}

/// The lines of a session's file, or what is wrong with it.
pub(super) fn split(index: usize, text: &str) -> Result<Lines, &'static str> {
    let mut lines = text.split_inclusive('\n');
    let header: Option<Header> = lines.next().and_then(|line| serde_json::from_str(line).ok());
    let rest: Vec<&str> = lines.collect();
    match header {
        Some(Header { session, events })
            if session == index && rest.len() == events + 2 && text.ends_with('\n') =>
        {
            Ok(Lines { outputs: [rest[0].to_owned(), rest[2..].concat(), rest[1].to_owned()] })
        }
        Some(_) => Err("its lines are not what its header says"),
        None => Err("its first line is not a header"),
    }
}

/// Adds one line, after making sure that it can be read back: JSON has no infinities, and a number that
/// became `null` should stop the run today, not the reader next month.
fn add_line<T: Serialize + DeserializeOwned>(
    text: &mut String,
    path: &Path,
    value: &T,
) -> Result<(), RunError> {
    let line = 1 + text.lines().count();
    let malformed = |source| RunError::Malformed { path: path.to_owned(), line, source };
    let json = serde_json::to_string(value).map_err(malformed)?;
    serde_json::from_str::<T>(&json).map_err(malformed)?;
    text.push_str(&json);
    text.push('\n');
    Ok(())
}
