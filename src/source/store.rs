//! Files that appear whole or not at all, and the lock that keeps two processes from fetching the same item.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::digest::hex;
use super::manifest::FileEntry;
use super::progress::{Phase, Progress, ProgressFn};
use super::{Places, SourceError};

/// Prefix of everything in an item's folder that is not finished.
const UNFINISHED: &str = ".part-";

/// The right to write into an item's folder; released on drop, and by the system when the process dies.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, waiting for another process that holds it, and removes what a killed one left behind.
    pub(super) fn take(
        places: &Places,
        folder: &Path,
        name: &str,
        progress: &ProgressFn<'_>,
    ) -> Result<Self, SourceError> {
        let locks = places.cache.join("locks");
        fs::create_dir_all(&locks).map_err(|e| SourceError::io("create", &locks, e))?;
        fs::create_dir_all(folder).map_err(|e| SourceError::io("create", folder, e))?;
        let path = locks.join(format!("{name}.lock"));
        let options = File::options().create(true).truncate(false).write(true).open(&path);
        let file = options.map_err(|e| SourceError::io("create", &path, e))?;
        if file.try_lock().is_err() {
            progress(Progress { phase: Phase::Waiting, what: name, done: 0, total: 0 });
            file.lock().map_err(|e| SourceError::io("lock", &path, e))?;
        }
        for entry in fs::read_dir(folder).map_err(|e| SourceError::io("read", folder, e))?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
            }
        }
        Ok(Self { _file: file })
    }
}

/// A folder for intermediate files beside the final one, removed on drop.
pub(super) struct Workshop {
    pub(super) path: PathBuf,
}

impl Workshop {
    pub(super) fn open(folder: &Path) -> Result<Self, SourceError> {
        let path = folder.join(format!("{UNFINISHED}work-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|e| SourceError::io("create", &path, e))?;
        Ok(Self { path })
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A file in the making. It takes its name only when all of its bytes are there and have the right hash; dropped
/// before that, it leaves nothing.
pub(super) struct Pending<'a> {
    entry: &'a FileEntry,
    part: PathBuf,
    path: PathBuf,
    file: File,
    hasher: Sha256,
    written: u64,
    done: bool,
}

impl<'a> Pending<'a> {
    pub(super) fn create(folder: &Path, entry: &'a FileEntry) -> Result<Self, SourceError> {
        let part = folder.join(format!("{UNFINISHED}{}-{}", std::process::id(), entry.name));
        let file = File::create(&part).map_err(|e| SourceError::io("create", &part, e))?;
        let path = folder.join(&entry.name);
        Ok(Self { entry, part, path, file, hasher: Sha256::new(), written: 0, done: false })
    }

    /// Bytes written so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Appends everything that `from` gives. Stops as soon as there is more than the manifest allows, so that a
    /// file of the wrong size (or a zip bomb) cannot fill the disk.
    pub(super) fn append(&mut self, mut from: impl Read, origin: &str) -> Result<(), SourceError> {
        let mut buffer = vec![0; 1 << 20];
        loop {
            let n = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(self.corrupt(format!("{origin} is damaged ({e})"))),
            };
            self.written += n as u64;
            if self.written > self.entry.bytes {
                return Err(self.corrupt(format!(
                    "{origin} gives more than the {} bytes that the manifest lists; it is another file",
                    self.entry.bytes
                )));
            }
            self.file.write_all(&buffer[..n]).map_err(|e| self.failed("write", e))?;
            self.hasher.update(&buffer[..n]);
        }
    }

    /// Checks size and hash, makes the bytes durable, and gives the file its name.
    pub(super) fn commit(mut self) -> Result<PathBuf, SourceError> {
        if self.written != self.entry.bytes {
            return Err(self.corrupt(format!(
                "it ended after {} of {} bytes; the download was cut short or is another file",
                self.written, self.entry.bytes
            )));
        }
        let sha256 = hex(&std::mem::take(&mut self.hasher).finalize());
        if sha256 != self.entry.sha256 {
            return Err(self.corrupt(mismatch(&sha256, &self.entry.sha256)));
        }
        self.file.sync_all().map_err(|e| self.failed("write", e))?;
        fs::rename(&self.part, &self.path).map_err(|e| self.failed("rename", e))?;
        self.done = true;
        // The name itself must survive a power cut too; where a folder cannot be synced, it is as good as it gets.
        if let Some(folder) = self.path.parent() {
            let _ = File::open(folder).and_then(|folder| folder.sync_all());
        }
        Ok(self.path.clone())
    }

    fn corrupt(&self, why: String) -> SourceError {
        SourceError::Corrupt { path: PathBuf::from(&self.entry.name), why }
    }

    fn failed(&self, action: &'static str, error: std::io::Error) -> SourceError {
        if error.kind() == std::io::ErrorKind::StorageFull {
            let folder = self.path.parent().unwrap_or(&self.path).to_path_buf();
            return SourceError::DiskFull { folder, needed: self.entry.bytes, what: self.entry.name.clone() };
        }
        SourceError::io(action, &self.path, error)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.part);
        }
    }
}

/// The sentence about a wrong hash.
pub(super) fn mismatch(found: &str, wanted: &str) -> String {
    format!("its sha256 is {found}, the manifest says {wanted}; it is not the same file and is not used")
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::digest::sha256_bytes;
    use super::*;

    /// A folder of its own for one test, removed on drop.
    pub(crate) struct Scratch(PathBuf);

    impl Scratch {
        pub(crate) fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("vigor-source-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        pub(crate) fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn entry(bytes: &[u8]) -> FileEntry {
        FileEntry { name: "f".into(), bytes: bytes.len() as u64, sha256: sha256_bytes(bytes) }
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let scratch = Scratch::new("pending");
        let folder = scratch.path("");
        let names = || fs::read_dir(&folder).unwrap().count();
        let entry = entry(b"whole file");

        let mut short = Pending::create(&folder, &entry).unwrap();
        short.append(&b"whole"[..], "x").unwrap();
        assert!(short.commit().unwrap_err().to_string().contains("5 of 10 bytes"));
        assert_eq!(names(), 0);

        let mut long = Pending::create(&folder, &entry).unwrap();
        assert!(
            long.append(std::io::repeat(b'x'), "x").unwrap_err().to_string().contains("more than the 10")
        );
        drop(long);
        assert_eq!(names(), 0);

        let mut other = Pending::create(&folder, &entry).unwrap();
        other.append(&b"other file"[..], "x").unwrap();
        assert!(other.commit().unwrap_err().to_string().contains("not the same file"));
        assert_eq!(names(), 0);

        let mut good = Pending::create(&folder, &entry).unwrap();
        good.append(&b"whole "[..], "x").unwrap();
        good.append(&b"file"[..], "x").unwrap();
        assert_eq!(fs::read(good.commit().unwrap()).unwrap(), b"whole file");
        assert_eq!(names(), 1);
    }

    #[test]
    fn the_lock_clears_away_what_a_killed_process_left() {
        let scratch = Scratch::new("lock");
        let places =
            Places::from_vars(|name| (name == "VIGOR_CACHE").then(|| scratch.path("c").into())).unwrap();
        let folder = scratch.path("c/models/m");
        fs::create_dir_all(folder.join(".part-work-1")).unwrap();
        fs::write(folder.join(".part-1-f"), "half").unwrap();
        fs::write(folder.join("f"), "whole").unwrap();
        let _lock = Lock::take(&places, &folder, "m", &super::super::progress::silent).unwrap();
        let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["f"]);
    }
}
