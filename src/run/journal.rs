//! The journal: what makes a run survive its processes, and several of them share it.
//!
//! Sessions finish in any order and in any process, yet `results.jsonl`, `trace.jsonl` and `timings.jsonl` are in
//! session order and the same bytes whatever happened. So every finished session is first written, whole and
//! atomically, to `sessions/NNNNNN.jsonl` ([`super::sessions`]); the three files are only concatenations of the unbroken
//! beginning of those ([`super::outputs`]). After a crash the journal is the truth: what the three files hold beyond it,
//! or less than it, is repaired from it.
//!
//! Which process computes which session is settled by claims ([`super::claims`]). The three files are extended by
//! whoever gets the lock of the run; who does not get it leaves its session in the journal, and the next one with the
//! lock puts it in its place. Before it ends, every process waits for the lock once and brings the files up to the
//! journal: so the last one finds nothing missing.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::claims::Claims;
use super::error::RunError;
use super::execute::SessionOutcome;
use super::files::ResultRow;
use super::manifest::{MANIFEST_FILE, Part, RunManifest};
pub use super::outputs::OUTPUTS;
use super::outputs::Outputs;
use super::sessions::{SessionFiles, split};
use super::shard::Shard;

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

/// How a process shares a run with others.
#[derive(Debug, Clone, Copy)]
pub struct Sharing {
    /// The tasks that are this process's at all.
    pub shard: Shard,
    /// After how long without a sign of life a process loses its sessions to others.
    pub lease: Duration,
}

impl Default for Sharing {
    fn default() -> Self {
        Self { shard: Shard::WHOLE, lease: Duration::from_secs(90) }
    }
}

/// How many leases a process waits for the lock of the run. Who opens a large run reads all of it under the lock, and others
/// may be before this one.
const LEASES_FOR_LOCK: u32 = 40;

/// The least time between two looks at what others do.
const LOOK: Duration = Duration::from_secs(1);

/// What a worker may do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Compute this session, which is now claimed.
    Session(usize),
    /// Wait: other processes compute what is left, and may fail to.
    Wait,
    /// End: nothing is left to begin.
    Done,
}

/// The open folder of a run.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    lock: File,
    manifest: RunManifest,
    sharing: Sharing,
    sessions: SessionFiles,
    /// Which sessions are known to be in the journal.
    finished: Vec<bool>,
    outputs: Outputs,
    claims: Claims,
    /// Sessions found finished by others that no look has told of yet.
    found: usize,
    repairs: Vec<Repair>,
    /// Other processes that may have been at work when this one came.
    others: usize,
    /// When to look next at what others do.
    look_at: Instant,
}

impl Journal {
    /// Opens the run's folder: begins a new run, or goes on with the one that is there, whose decisive facts
    /// must be those of `manifest`. In either case `manifest.parts` (one part) is added to the manifest on disk. Other
    /// processes may have the folder open, too.
    ///
    /// # Errors
    /// When it holds another experiment, or when it cannot be read or written. Nothing that was finished is lost by
    /// any of these.
    pub fn open(dir: &Path, manifest: RunManifest) -> Result<Self, RunError> {
        Self::open_shared(dir, manifest, Sharing::default())
    }

    /// Opens the run's folder, as [`Self::open`], and says how to share it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_shared(dir: &Path, manifest: RunManifest, sharing: Sharing) -> Result<Self, RunError> {
        Self::open_with(dir, manifest, sharing, |mut old, new, process, finished_before| {
            let begun = |part| Part { process: process.to_owned(), finished_before, ..part };
            old.extend(new.into_iter().map(begun));
            old
        })
    }

    /// Opens the run's folder; `parts` makes its parts from those on disk, those given, the name of this process, and
    /// how many sessions are finished.
    pub(super) fn open_with(
        dir: &Path,
        mut manifest: RunManifest,
        sharing: Sharing,
        parts: impl FnOnce(Vec<Part>, Vec<Part>, &str, usize) -> Vec<Part>,
    ) -> Result<Self, RunError> {
        let sessions = SessionFiles::of(dir);
        sessions.create()?;
        let lock = open_lock(dir)?;
        let guard = wait_for(&lock, dir, sharing.lease)?;

        let manifest_path = dir.join(MANIFEST_FILE);
        let mut old_parts = Vec::new();
        if manifest_path.exists() {
            let old = RunManifest::load(dir)?;
            if let Some((key, old, new)) = old.difference(&manifest) {
                return Err(RunError::Differs { dir: dir.to_owned(), key, old, new });
            }
            old_parts = old.parts;
        }
        let total = manifest.sessions();
        let mut claims = Claims::join(dir, sharing.lease)?;
        let finished = sessions.finished(total)?;
        if old_parts.is_empty() && finished.contains(&true) {
            let reason =
                format!("it holds finished sessions, but {MANIFEST_FILE}, which says of what, is gone");
            return Err(RunError::Journal { path: sessions.dir().to_owned(), reason });
        }
        let others = claims.sweep(&finished)?;
        sessions.sweep(|writer| writer == claims.id() || others.iter().any(|other| other == writer))?;

        let mut outputs = Outputs::open(dir)?;
        outputs.extend(&sessions, finished.iter().position(|f| !f).unwrap_or(total))?;
        let mut repairs = outputs.trim(&sessions)?;
        if !others.is_empty() {
            // Where others work, the outputs are behind the journal all the time.
            repairs.clear();
        }

        let count = finished.iter().filter(|f| **f).count();
        manifest.parts = parts(old_parts, manifest.parts, claims.id(), count);
        let mut text = serde_json::to_string_pretty(&manifest)
            .expect("a manifest is made of plain values with text keys");
        text.push('\n');
        write_atomically(&manifest_path, text.as_bytes())?;
        drop(guard);
        let mut journal = Self {
            dir: dir.to_owned(),
            lock,
            manifest,
            sharing,
            sessions,
            finished,
            outputs,
            claims,
            found: 0,
            repairs,
            others: others.len(),
            look_at: Instant::now(),
        };
        journal.look()?;
        Ok(journal)
    }

    /// The folder of the run.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The manifest, with all parts until this one.
    pub fn manifest(&self) -> &RunManifest {
        &self.manifest
    }

    /// What had to be put right when the folder was opened.
    pub fn repairs(&self) -> &[Repair] {
        &self.repairs
    }

    /// Other processes that were at work in the folder when it was opened, as far as could be seen.
    pub fn others(&self) -> usize {
        self.others
    }

    /// Sessions in the share of this process.
    pub fn sessions(&self) -> usize {
        (0..self.finished.len()).filter(|&index| self.ours(index)).count()
    }

    /// Sessions in the share of this process that are finished, by whomever.
    pub fn finished(&self) -> usize {
        (0..self.finished.len()).filter(|&index| self.finished[index] && self.ours(index)).count()
    }

    /// Sessions that other processes were computing when they were last looked at.
    pub fn held_elsewhere(&self) -> usize {
        self.claims.held_elsewhere()
    }

    /// True when every session of the run is finished and in the outputs.
    pub fn complete(&self) -> bool {
        self.outputs.next() == self.finished.len()
    }

    /// True when this process brought the outputs to where they end.
    pub fn wrote_last(&self) -> bool {
        self.outputs.wrote_last()
    }

    fn ours(&self, index: usize) -> bool {
        self.sharing.shard.holds(index / self.manifest.cells.len())
    }

    /// The result of a finished session.
    ///
    /// # Errors
    /// When its file cannot be read or is malformed.
    pub(super) fn result(&self, index: usize) -> Result<ResultRow, RunError> {
        let [result, ..] = self.sessions.read(index)?.outputs;
        let path = self.sessions.path(index);
        serde_json::from_str(&result).map_err(|source| RunError::Malformed { path, line: 2, source })
    }

    /// Claims the first session that nobody has finished or claimed. With `in_order` a task's session has its turn when
    /// those before it are finished.
    pub(super) fn claim_next(&mut self, in_order: bool) -> Result<Turn, RunError> {
        let cells = self.manifest.cells.len();
        let mut others_have = false;
        for index in self.outputs.next()..self.finished.len() {
            if self.finished[index] || !self.ours(index) || self.claims.holds(index) {
                continue;
            }
            let early = in_order && !index.is_multiple_of(cells) && !self.finished[index - 1];
            if early || !self.claims.take(index)? {
                others_have = true;
            } else if self.sessions.has(index) {
                // Another process has finished it since we last looked.
                self.claims.settle(index);
                self.finished[index] = true;
                self.found += 1;
            } else {
                return Ok(Turn::Session(index));
            }
        }
        Ok(if others_have { Turn::Wait } else { Turn::Done })
    }

    /// Leaves a session that was claimed to others, unfinished.
    pub(super) fn give_back(&mut self, index: usize) {
        self.claims.give_back(index);
    }

    /// Keeps a finished session: when this returns it survives a crash. False when it was known to be finished
    /// already, by another process.
    ///
    /// # Errors
    /// When it cannot be written (disk full …), or when another process came to something else. What was recorded
    /// before stays.
    pub(super) fn record(&mut self, index: usize, outcome: &SessionOutcome) -> Result<bool, RunError> {
        let text = self.sessions.serialise(index, outcome)?;
        let new = self.keep(index, &text);
        self.claims.settle(index);
        let new = new?;
        self.catch_up()?;
        Ok(new)
    }

    /// Keeps the text of a session's file. False when the session was known to be finished already.
    pub(super) fn keep(&mut self, index: usize, text: &str) -> Result<bool, RunError> {
        if !self.sessions.add(index, text, self.claims.id())? {
            let there = self.sessions.read(index)?;
            let path = self.sessions.path(index);
            let ours = split(index, text)
                .map_err(|reason| RunError::Journal { path: path.clone(), reason: reason.into() })?;
            if !there.agree(&ours) && !there.ended_by_time() && !ours.ended_by_time() {
                let session = self.manifest.session_name(index);
                return Err(RunError::Contradiction { session, path, other: "this process".into() });
            }
        }
        Ok(!std::mem::replace(&mut self.finished[index], true))
    }

    /// Looks, now and then, at what other processes did: how many sessions of this process's share they finished.
    ///
    /// # Errors
    /// When the folder cannot be read, or the outputs not be written.
    pub(super) fn look(&mut self) -> Result<usize, RunError> {
        let began = Instant::now();
        if began < self.look_at {
            return Ok(0);
        }
        let found = std::mem::take(&mut self.found) + self.see_finished()?;
        self.claims.look()?;
        self.catch_up()?;
        // Large folders on slow file systems are looked at less often.
        self.look_at = Instant::now() + (20 * began.elapsed()).max(LOOK.min(self.sharing.lease / 8));
        Ok(found)
    }

    fn see_finished(&mut self) -> Result<usize, RunError> {
        let before = self.finished();
        for (known, there) in self.finished.iter_mut().zip(self.sessions.finished(self.manifest.sessions())?)
        {
            *known |= there;
        }
        Ok(self.finished() - before)
    }

    /// Sessions that the outputs could hold.
    fn unbroken(&self) -> usize {
        let next = self.outputs.next();
        self.finished[next..].iter().position(|f| !f).map_or(self.finished.len(), |gap| next + gap)
    }

    /// Brings the outputs to the journal, unless somebody else is about to.
    fn catch_up(&mut self) -> Result<(), RunError> {
        let end = self.unbroken();
        if end == self.outputs.next() {
            return Ok(());
        }
        match Guard::try_new(&self.lock, &self.dir)? {
            Some(_guard) => self.outputs.extend(&self.sessions, end),
            None => Ok(()),
        }
    }

    /// Brings the outputs to the journal and makes them durable: the last thing that a process does.
    ///
    /// # Errors
    /// When the system cannot, or when somebody holds the lock of the run and does not let go.
    pub(super) fn close(&mut self) -> Result<(), RunError> {
        self.see_finished()?;
        let end = self.unbroken();
        let _guard = wait_for(&self.lock, &self.dir, self.sharing.lease)?;
        self.outputs.extend(&self.sessions, end)?;
        self.outputs.sync()?;
        if self.complete() {
            let alive = self.claims.clear()?;
            self.sessions.sweep(|writer| alive.iter().any(|process| process == writer))?;
        }
        Ok(())
    }
}

/// Holds the lock of a run.
struct Guard<'a>(&'a File);

impl<'a> Guard<'a> {
    fn try_new(file: &'a File, dir: &Path) -> Result<Option<Self>, RunError> {
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(RunError::io("lock", &lock_path(dir), error)),
        }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // Closing the file would release it, too.
        let _ = self.0.unlock();
    }
}

fn lock_path(dir: &Path) -> PathBuf {
    dir.join("run.lock")
}

fn open_lock(dir: &Path) -> Result<File, RunError> {
    let path = lock_path(dir);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    file.map_err(|e| RunError::io("open", &path, e))
}

/// Waits for the lock, which others hold for moments.
fn wait_for<'a>(file: &'a File, dir: &Path, lease: Duration) -> Result<Guard<'a>, RunError> {
    let began = Instant::now();
    loop {
        if let Some(guard) = Guard::try_new(file, dir)? {
            return Ok(guard);
        }
        if began.elapsed() > LEASES_FOR_LOCK * lease {
            let seconds = began.elapsed().as_secs();
            return Err(RunError::Locked { path: lock_path(dir), seconds });
        }
        std::thread::sleep(Duration::from_millis(10));
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
        // Best effort: on a full disk the space matters.
        let _ = std::fs::remove_file(&temporary);
        RunError::io("write", path, e)
    })
}
