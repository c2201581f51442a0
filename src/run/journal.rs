//! The journal: what makes a run survive its process.
//!
//! Sessions finish in any order, yet `results.jsonl`, `trace.jsonl` and `timings.jsonl` are in session order
//! and the same bytes whatever happened. So every finished session is first written, whole and atomically, to
//! `sessions/NNNNNN.jsonl` (temporary file, fsync, rename, fsync of the folder); the three files are only
//! concatenations of the unbroken beginning of those. After a crash the journal is the truth: what the three
//! files hold beyond it, or less than it, is repaired from it.
//!
//! A session's file holds the very lines that go out, not values that would have to be written again:
//! `{"session":12,"events":3}`, the result, the timing, then the events.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::RunError;
use super::execute::SessionOutcome;
use super::files::{ResultRow, TimingRow};
use super::manifest::{MANIFEST_FILE, RunManifest};
use crate::session::trace::TraceLine;

/// What opening a run's folder had to put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// The file.
    pub path: PathBuf,
    /// Bytes at its end that were not what the journal says, and are gone.
    pub dropped: u64,
    /// Bytes that were written again from the journal.
    pub rewritten: u64,
}

/// The header of a journal file.
#[derive(Serialize, Deserialize)]
struct Header {
    session: usize,
    events: usize,
}

/// The lines of one finished session, ready to append.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lines {
    /// For `results.jsonl`, `trace.jsonl`, `timings.jsonl`, each with its newlines.
    outputs: [String; 3],
}

/// Names of the outputs.
pub const OUTPUTS: [&str; 3] = ["results.jsonl", "trace.jsonl", "timings.jsonl"];

/// An open run folder, held by this process alone.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    /// Holds the lock as long as it is open.
    _lock: File,
    manifest: RunManifest,
    /// Which sessions are in the journal.
    finished: Vec<bool>,
    /// Sessions before this one are in the outputs.
    next: usize,
    outputs: [File; 3],
    repairs: Vec<Repair>,
}

impl Journal {
    /// Opens the run's folder: begins a new run, or goes on with the one that is there, whose decisive facts
    /// must be those of `manifest`. In either case `manifest.parts` (one part) is added to the manifest on disk.
    ///
    /// # Errors
    /// When another process holds the folder, when it holds another experiment, or when it cannot be read or
    /// written. Nothing that was finished is lost by any of these.
    pub fn open(dir: &Path, mut manifest: RunManifest) -> Result<Self, RunError> {
        let sessions_dir = dir.join("sessions");
        std::fs::create_dir_all(&sessions_dir).map_err(|e| RunError::io("create", &sessions_dir, e))?;
        let lock = lock(dir)?;

        let manifest_path = dir.join(MANIFEST_FILE);
        let mut parts = Vec::new();
        if manifest_path.exists() {
            let old = RunManifest::load(dir)?;
            if let Some((key, old, new)) = old.difference(&manifest) {
                return Err(RunError::Differs { dir: dir.to_owned(), key, old, new });
            }
            parts = old.parts;
        }

        let total = manifest.sessions();
        let finished = finished_sessions(&sessions_dir, total)?;
        if parts.is_empty() && finished.contains(&true) {
            let reason =
                format!("it holds finished sessions, but {MANIFEST_FILE}, which says of what, is gone");
            return Err(RunError::Journal { path: sessions_dir, reason });
        }
        for part in &mut manifest.parts {
            part.finished_before = finished.iter().filter(|f| **f).count();
        }
        let next = finished.iter().position(|f| !f).unwrap_or(total);
        let (outputs, repairs) = restore_outputs(dir, &sessions_dir, next)?;

        parts.append(&mut manifest.parts);
        manifest.parts = parts;
        let mut text = serde_json::to_string_pretty(&manifest)
            .expect("a manifest is made of plain values with text keys");
        text.push('\n');
        write_atomically(&manifest_path, text.as_bytes())?;
        Ok(Self { dir: dir.to_owned(), _lock: lock, manifest, finished, next, outputs, repairs })
    }

    /// The folder of the run.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The manifest, with all its parts.
    pub fn manifest(&self) -> &RunManifest {
        &self.manifest
    }

    /// What had to be put right when the folder was opened.
    pub fn repairs(&self) -> &[Repair] {
        &self.repairs
    }

    /// Number of finished sessions.
    pub fn finished(&self) -> usize {
        self.finished.iter().filter(|f| **f).count()
    }

    /// Sessions still to run, in order.
    pub fn pending(&self) -> Vec<usize> {
        (0..self.finished.len()).filter(|&index| !self.finished[index]).collect()
    }

    /// The result of a finished session.
    ///
    /// # Errors
    /// When its journal file cannot be read or is malformed.
    pub fn result(&self, index: usize) -> Result<ResultRow, RunError> {
        let sessions_dir = self.dir.join("sessions");
        let path = session_path(&sessions_dir, index);
        let [result, ..] = read_session(&sessions_dir, index)?.outputs;
        serde_json::from_str(&result).map_err(|source| RunError::Malformed { path, line: 2, source })
    }

    /// Keeps a finished session: when this returns it survives a crash.
    ///
    /// # Errors
    /// When it cannot be written (disk full …). What was recorded before stays.
    pub fn record(&mut self, index: usize, outcome: &SessionOutcome) -> Result<(), RunError> {
        let path = session_path(&self.dir.join("sessions"), index);
        write_atomically(&path, serialise(index, outcome, &path)?.as_bytes())?;
        self.finished[index] = true;
        while self.next < self.finished.len() && self.finished[self.next] {
            let lines = read_session(&self.dir.join("sessions"), self.next)?;
            for ((file, text), name) in self.outputs.iter_mut().zip(&lines.outputs).zip(OUTPUTS) {
                // One write a line, straight to the system: a reader that follows the file sees whole lines.
                for line in text.split_inclusive('\n') {
                    file.write_all(line.as_bytes())
                        .map_err(|e| RunError::io("append to", &self.dir.join(name), e))?;
                }
            }
            self.next += 1;
        }
        Ok(())
    }

    /// Makes the outputs durable. The journal already is.
    ///
    /// # Errors
    /// When the system cannot.
    pub fn sync(&self) -> Result<(), RunError> {
        for (file, name) in self.outputs.iter().zip(OUTPUTS) {
            file.sync_all().map_err(|e| RunError::io("write", &self.dir.join(name), e))?;
        }
        Ok(())
    }
}

fn lock(dir: &Path) -> Result<File, RunError> {
    let path = dir.join("run.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| RunError::io("open", &path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RunError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(RunError::io("lock", &path, error)),
    }
}

fn session_path(sessions_dir: &Path, index: usize) -> PathBuf {
    sessions_dir.join(format!("{index:06}.jsonl"))
}

/// Which of the `total` sessions have a journal file. Left-over temporary files are removed.
fn finished_sessions(sessions_dir: &Path, total: usize) -> Result<Vec<bool>, RunError> {
    let fail = |e| RunError::io("read", sessions_dir, e);
    let mut finished = vec![false; total];
    for entry in std::fs::read_dir(sessions_dir).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".tmp") {
            std::fs::remove_file(&path).map_err(|e| RunError::io("remove", &path, e))?;
        } else if let Some(index) = name.strip_suffix(".jsonl").and_then(|stem| stem.parse::<usize>().ok()) {
            let reason = format!("the run has {total} sessions, counted from 0");
            *finished.get_mut(index).ok_or(RunError::Journal { path, reason })? = true;
        }
    }
    Ok(finished)
}

/// Opens the outputs and makes them hold exactly sessions `0..next`, ready to append.
fn restore_outputs(
    dir: &Path,
    sessions_dir: &Path,
    next: usize,
) -> Result<([File; 3], Vec<Repair>), RunError> {
    let mut repairs = Vec::new();
    let mut open = |which: usize| {
        let path = dir.join(OUTPUTS[which]);
        let fail = |e| RunError::io("open", &path, e);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(fail)?;
        if let Some(repair) = restore(&mut file, &path, which, sessions_dir, next)? {
            repairs.push(repair);
        }
        Ok::<File, RunError>(file)
    };
    let outputs = [open(0)?, open(1)?, open(2)?];
    Ok((outputs, repairs))
}

fn restore(
    file: &mut File,
    path: &Path,
    which: usize,
    sessions_dir: &Path,
    next: usize,
) -> Result<Option<Repair>, RunError> {
    let fail = |e| RunError::io("repair", path, e);
    let length = file.metadata().map_err(fail)?.len();
    let mut reader = BufReader::new(&mut *file);
    let (mut good, mut good_lines, mut missing) = (0, 0, String::new());
    for index in 0..next {
        let expected = std::mem::take(&mut read_session(sessions_dir, index)?.outputs[which]);
        let mut found = Vec::new();
        if missing.is_empty() {
            reader.by_ref().take(expected.len() as u64).read_to_end(&mut found).map_err(fail)?;
        }
        if missing.is_empty() && found == expected.as_bytes() {
            good += expected.len() as u64;
            good_lines += expected.lines().count();
        } else {
            missing.push_str(&expected);
        }
    }
    // With nothing missing, complete lines that follow are sessions whose journal is gone: not ours to delete.
    if missing.is_empty() {
        let mut rest = Vec::new();
        reader.read_until(b'\n', &mut rest).map_err(fail)?;
        if rest.ends_with(b"\n") && serde_json::from_slice::<serde_json::Value>(&rest).is_ok() {
            let journal = sessions_dir.to_owned();
            return Err(RunError::BeyondJournal { path: path.to_owned(), line: good_lines + 1, journal });
        }
    }
    drop(reader);
    let dropped = length - good;
    if dropped > 0 {
        file.set_len(good).map_err(fail)?;
    }
    file.seek(SeekFrom::Start(good)).map_err(fail)?;
    file.write_all(missing.as_bytes()).map_err(fail)?;
    let rewritten = missing.len() as u64;
    Ok((dropped > 0 || rewritten > 0).then(|| Repair { path: path.to_owned(), dropped, rewritten }))
}

fn serialise(index: usize, outcome: &SessionOutcome, path: &Path) -> Result<String, RunError> {
    let mut text = String::new();
    add_line(&mut text, path, &Header { session: index, events: outcome.events.len() })?;
    add_line::<ResultRow>(&mut text, path, &outcome.result)?;
    add_line::<TimingRow>(&mut text, path, &outcome.timing)?;
    for event in &outcome.events {
        add_line::<TraceLine>(&mut text, path, event)?;
    }
    Ok(text)
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

fn read_session(sessions_dir: &Path, index: usize) -> Result<Lines, RunError> {
    let path = session_path(sessions_dir, index);
    let text = std::fs::read_to_string(&path).map_err(|e| RunError::io("read", &path, e))?;
    let mut lines = text.split_inclusive('\n');
    let header: Option<Header> = lines.next().and_then(|line| serde_json::from_str(line).ok());
    let rest: Vec<&str> = lines.collect();
    match header {
        Some(Header { session, events })
            if session == index && rest.len() == events + 2 && text.ends_with('\n') =>
        {
            Ok(Lines { outputs: [rest[0].to_owned(), rest[2..].concat(), rest[1].to_owned()] })
        }
        Some(_) => Err(RunError::Journal { path, reason: "its lines are not what its header says".into() }),
        None => Err(RunError::Journal { path, reason: "its first line is not a header".into() }),
    }
}

/// Writes a file so that after a crash it is there whole or not at all.
fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        // The rename itself is durable only when the folder is.
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    };
    write().map_err(|e| {
        // Best effort: on a full disk the space matters, and opening the run removes what is left anyway.
        let _ = std::fs::remove_file(&temporary);
        RunError::io("write", path, e)
    })
}
