//! Who computes which session, when several processes work on one run.
//!
//! The folder `claims/` holds one file a process at work, `HOST.PID.NUMBER.process`, and one a session that somebody
//! computes, `NNNNNN.GENERATION`, which names its process. A claim is made by creating its file, which only one of
//! several processes can. The files of a process say that it lives: it keeps a lock on its own, which the system takes away when it
//! ends, and writes a beat into it every few seconds.
//!
//! A claim is *lost* when its process is gone, or has not beaten for a lease. Clocks of two machines are never
//! compared: whoever waits looks whether the beat changes, and measures how long it did not by its own clock. Whoever
//! takes a lost claim over creates the file of the next generation, which again only one can.
//!
//! A process that was only stopped may wake up after its claim was taken over. It does no harm: a session comes to the
//! same whoever computes it, its file in `sessions/` is written once ([`super::sessions`]), and a claim is given back
//! under its own generation. So claims save work; that nothing is lost or doubled does not rest on them.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::error::RunError;

/// The longest that a process lets pass between two signs of life.
const LONGEST_BEAT: Duration = Duration::from_secs(10);

/// The claims of a run, as one process sees them.
#[derive(Debug)]
pub(super) struct Claims {
    dir: PathBuf,
    id: String,
    lease: Duration,
    /// Generation of each claim that this process holds.
    mine: HashMap<usize, u32>,
    /// The claims of others, as last seen.
    others: HashMap<usize, Claim>,
    /// The last sign of life of each process, and since when it has been the last.
    signs: HashMap<String, (String, Instant)>,
    boot: String,
    /// What the file of this process says of it.
    about: String,
    heart: Heart,
}

/// A claim of another process.
#[derive(Debug)]
struct Claim {
    generation: u32,
    /// The process; empty where the file does not say, because its writer was killed or has not come to it.
    process: String,
    lost: bool,
}

impl Claims {
    /// Joins those who work on the run in folder `run_dir`.
    pub fn join(run_dir: &Path, lease: Duration) -> Result<Self, RunError> {
        let dir = run_dir.join("claims");
        let boot = read_line("/proc/sys/kernel/random/boot_id");
        let host = read_line("/proc/sys/kernel/hostname");
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        let id = format!(
            "{}.{}.{:08x}",
            host.chars().map(plain).take(60).collect::<String>(),
            std::process::id(),
            RandomState::new().hash_one(()) as u32
        );
        let about = serde_json::json!({ "host": host, "pid": std::process::id(), "boot": boot }).to_string();
        let heart = Heart::start(&dir, &id, &about, lease)?;
        let (mine, others, signs) = (HashMap::new(), HashMap::new(), HashMap::new());
        Ok(Self { dir, id, lease, mine, others, signs, boot, about, heart })
    }

    /// The name of this process among the others.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// True when this process holds the session.
    pub fn holds(&self, index: usize) -> bool {
        self.mine.contains_key(&index)
    }

    /// Sessions that other processes hold and stand up for, as last seen.
    pub fn held_elsewhere(&self) -> usize {
        self.others.values().filter(|claim| !claim.lost).count()
    }

    /// Claims a session. False when another process has it.
    pub fn take(&mut self, index: usize) -> Result<bool, RunError> {
        let generation = match self.others.get(&index) {
            Some(claim) if !claim.lost => return Ok(false),
            Some(claim) => claim.generation + 1,
            None => 0,
        };
        let path = self.path(index, generation);
        let create = || OpenOptions::new().write(true).create_new(true).open(&path);
        let mut created = create();
        if created.as_ref().is_err_and(|e| e.kind() == ErrorKind::NotFound) {
            // While this process was stopped, others finished the run and cleared the folder away.
            self.heart = Heart::start(&self.dir, &self.id, &self.about, self.lease)?;
            created = create();
        }
        match created {
            Ok(mut file) => {
                self.mine.insert(index, generation);
                self.others.remove(&index);
                // A claim that does not say whose it is would hold up the others for a lease.
                file.write_all(format!("{}\n", self.id).as_bytes()).map_err(|e| {
                    self.give_back(index);
                    RunError::io("write", &path, e)
                })?;
                Ok(true)
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                self.others.insert(index, Claim { generation, process: String::new(), lost: false });
                Ok(false)
            }
            Err(e) => Err(RunError::io("create", &path, e)),
        }
    }

    /// Leaves a session that is not finished to whoever wants it.
    pub fn give_back(&mut self, index: usize) {
        if let Some(generation) = self.mine.remove(&index) {
            let _ = std::fs::remove_file(self.path(index, generation));
        }
    }

    /// Removes the claim on a session that is finished, and those that it took over.
    pub fn settle(&mut self, index: usize) {
        if let Some(generation) = self.mine.remove(&index) {
            for generation in 0..=generation {
                let _ = std::fs::remove_file(self.path(index, generation));
            }
        }
    }

    /// Looks which sessions others hold, and which of those nobody stands up for any more.
    pub fn look(&mut self) -> Result<(), RunError> {
        let mut newest: HashMap<usize, u32> = HashMap::new();
        for name in self.files()? {
            if let Some((index, generation)) = claim_named(&name) {
                let newest = newest.entry(index).or_insert(generation);
                *newest = generation.max(*newest);
            }
        }
        let mut known = std::mem::take(&mut self.others);
        let mut judged: HashMap<String, bool> = HashMap::new();
        for (index, generation) in newest {
            if self.mine.contains_key(&index) {
                continue;
            }
            let claim = known.remove(&index).filter(|c| c.generation == generation && !c.process.is_empty());
            let process = match claim {
                Some(claim) => claim.process,
                None => match std::fs::read_to_string(self.path(index, generation)) {
                    // Without its newline it is not written to its end.
                    Ok(text) => text.strip_suffix('\n').unwrap_or_default().to_owned(),
                    Err(e) if e.kind() == ErrorKind::NotFound => continue,
                    Err(e) => return Err(RunError::io("read", &self.path(index, generation), e)),
                },
            };
            let lost = if process.is_empty() {
                self.silent(&format!("{index:06}.{generation}"), "")
            } else if let Some(&lost) = judged.get(&process) {
                lost
            } else {
                let lost = self.lost(&process)?;
                judged.insert(process.clone(), lost);
                lost
            };
            self.others.insert(index, Claim { generation, process, lost });
        }
        Ok(())
    }

    /// Removes what processes of this machine that are gone have left, and every claim on a finished session. Says
    /// which other processes may be at work.
    pub fn sweep(&mut self, finished: &[bool]) -> Result<Vec<String>, RunError> {
        let mut alive = Vec::new();
        for name in self.files()? {
            let path = self.dir.join(&name);
            if let Some((index, _)) = claim_named(&name) {
                if finished.get(index).is_none_or(|finished| *finished) {
                    let _ = std::fs::remove_file(&path);
                }
            } else if let Some(process) = name.strip_suffix(".process")
                && process != self.id
            {
                if self.gone(process)? {
                    let _ = std::fs::remove_file(&path);
                } else {
                    alive.push(process.to_owned());
                }
            }
        }
        Ok(alive)
    }

    /// Removes the folder's content when all is finished: nobody needs a claim any more. Says which processes may still
    /// be at work, this one among them.
    pub fn clear(&mut self) -> Result<Vec<String>, RunError> {
        let mut alive = Vec::new();
        for name in self.files()? {
            match name.strip_suffix(".process") {
                Some(process) if process == self.id || !self.lost(process)? => alive.push(process.to_owned()),
                _ => drop(std::fs::remove_file(self.dir.join(&name))),
            }
        }
        Ok(alive)
    }

    fn path(&self, index: usize, generation: u32) -> PathBuf {
        self.dir.join(format!("{index:06}.{generation}"))
    }

    fn process_path(&self, process: &str) -> PathBuf {
        self.dir.join(format!("{process}.process"))
    }

    fn files(&self) -> Result<Vec<String>, RunError> {
        let mut names = Vec::new();
        let mut list = || {
            for entry in std::fs::read_dir(&self.dir)? {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
            Ok(())
        };
        match list() {
            // Cleared away by the process that finished the run.
            Err(e) if std::io::Error::kind(&e) == ErrorKind::NotFound => Ok(names),
            Err(e) => Err(RunError::io("read", &self.dir, e)),
            Ok(()) => Ok(names),
        }
    }

    /// True when a process is known to have ended. Only one of this machine can be known so: the lock of another's
    /// may or may not be seen here.
    fn gone(&self, process: &str) -> Result<bool, RunError> {
        let path = self.process_path(process);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(true),
            Err(e) => return Err(RunError::io("read", &path, e)),
        };
        let text = std::io::read_to_string(&file).map_err(|e| RunError::io("read", &path, e))?;
        let here = !self.boot.is_empty() && text.contains(&self.boot);
        // Shared, so that two who look at once do not take each other for the owner.
        Ok(here && file.try_lock_shared().is_ok())
    }

    /// True when a process is gone, or has given no sign of life for a lease.
    fn lost(&mut self, process: &str) -> Result<bool, RunError> {
        if self.gone(process)? {
            return Ok(true);
        }
        let path = self.process_path(process);
        match std::fs::read_to_string(&path) {
            Ok(sign) => Ok(self.silent(process, &sign)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(true),
            Err(e) => Err(RunError::io("read", &path, e)),
        }
    }

    /// True when the last sign of `whom` has been `sign` for a lease.
    fn silent(&mut self, whom: &str, sign: &str) -> bool {
        match self.signs.get(whom) {
            Some((last, since)) if last == sign => since.elapsed() >= self.lease,
            _ => {
                self.signs.insert(whom.to_owned(), (sign.to_owned(), Instant::now()));
                false
            }
        }
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        for (index, generation) in std::mem::take(&mut self.mine) {
            let _ = std::fs::remove_file(self.path(index, generation));
        }
        let _ = std::fs::remove_file(self.process_path(&self.id));
        // Goes only when nobody else is at work.
        let _ = std::fs::remove_dir(&self.dir);
    }
}

/// Session and generation of a claim's file.
fn claim_named(name: &str) -> Option<(usize, u32)> {
    let (index, generation) = name.split_once('.')?;
    Some((index.parse().ok()?, generation.parse().ok()?))
}

/// The file of a process: locked, and beating until it is dropped.
#[derive(Debug)]
struct Heart {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heart {
    fn start(dir: &Path, id: &str, about: &str, lease: Duration) -> Result<Self, RunError> {
        let path = dir.join(format!("{id}.process"));
        let create = || {
            std::fs::create_dir_all(dir)?;
            // Locked before it has its name, so that nobody finds it without its lock.
            let temporary = dir.join(format!("{id}.new"));
            let mut file = File::create(&temporary)?;
            file.lock()?;
            file.write_all(format!("{about}\n{:020}\n", 0).as_bytes())?;
            std::fs::rename(&temporary, &path)?;
            Ok(file)
        };
        let mut attempts = 0;
        let file = loop {
            match create() {
                Ok(file) => break file,
                // The last process that worked here has just removed the folder.
                Err(e) if std::io::Error::kind(&e) == ErrorKind::NotFound && attempts < 10 => attempts += 1,
                Err(e) => return Err(RunError::io("create", &path, e)),
            }
        };
        let (stop, stopped) = mpsc::channel::<()>();
        let (at, every) = (about.len() as u64 + 1, LONGEST_BEAT.min(lease / 4));
        let beat = move || {
            for beat in 1u64.. {
                if stopped.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
                // A beat that cannot be written is missed. The worst that comes of it is that others take over.
                let _ = file.write_all_at(format!("{beat:020}").as_bytes(), at);
                let _ = file.sync_data();
            }
        };
        let thread = std::thread::Builder::new().name("heart".into()).spawn(beat);
        let thread = thread.map_err(|e| RunError::io("start the beat of", &path, e))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The first line of a file of the system; empty where there is none.
fn read_line(path: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}
