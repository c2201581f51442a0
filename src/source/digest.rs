//! SHA-256 of files, remembered so that a large file is hashed once.
//!
//! A stamp records what a file's hash was when it had this size and this time of modification. A file that
//! still has both is trusted; `verify` hashes it again.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::progress::{Phase, Progress, ProgressFn, silent};
use super::{Places, SourceError};

/// Lower-case hexadecimal SHA-256 of a file, from its stamp where size and time of modification still agree.
///
/// # Errors
/// [`SourceError::Io`] when the file cannot be read. A missing or read-only cache folder is no error.
pub fn sha256_file(path: &Path) -> Result<String, SourceError> {
    match Places::from_env() {
        Ok(places) => Stamps::new(places.stamps()).sha256(path, &silent),
        Err(_) => hash(path, &silent),
    }
}

/// Lower-case hexadecimal SHA-256 of some bytes.
pub fn sha256_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// What a file looked like when it was hashed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    path: PathBuf,
    bytes: u64,
    modified_ns: u128,
    sha256: String,
}

/// The remembered hashes.
pub(super) struct Stamps {
    folder: PathBuf,
}

impl Stamps {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The hash of a file: from its stamp, or computed and stamped.
    pub(super) fn sha256(&self, path: &Path, progress: &ProgressFn<'_>) -> Result<String, SourceError> {
        match self.remembered(path) {
            Some(hash) => Ok(hash),
            None => self.rehash(path, progress),
        }
    }

    /// The hash in the file's stamp, if the stamp still describes the file.
    pub(super) fn remembered(&self, path: &Path) -> Option<String> {
        let real = fs::canonicalize(path).ok()?;
        let (bytes, modified_ns) = identity(&real).ok()?;
        let stamp: Stamp = serde_json::from_slice(&fs::read(self.file(&real)).ok()?).ok()?;
        (stamp.path == real && stamp.bytes == bytes && stamp.modified_ns == modified_ns)
            .then_some(stamp.sha256)
    }

    /// Hashes a file whatever its stamp says, and stamps it.
    pub(super) fn rehash(&self, path: &Path, progress: &ProgressFn<'_>) -> Result<String, SourceError> {
        let real = fs::canonicalize(path).map_err(|e| SourceError::io("read", path, e))?;
        let before = identity(&real).map_err(|e| SourceError::io("read", path, e))?;
        let sha256 = hash(&real, progress)?;
        // A file that changed while it was read has no hash worth remembering.
        if identity(&real).is_ok_and(|after| after == before) {
            self.remember(&real, &sha256);
        }
        Ok(sha256)
    }

    /// Stamps a file with a hash that the caller has just computed from its bytes. Best effort: without a stamp
    /// the file is only hashed again.
    pub(super) fn remember(&self, path: &Path, sha256: &str) {
        let Ok(real) = fs::canonicalize(path) else { return };
        let Ok((bytes, modified_ns)) = identity(&real) else { return };
        let file = self.file(&real);
        let stamp = Stamp { path: real, bytes, modified_ns, sha256: sha256.to_owned() };
        let Ok(text) = serde_json::to_vec(&stamp) else { return };
        let part = file.with_extension(format!("part{}", std::process::id()));
        let written = fs::create_dir_all(&self.folder)
            .and_then(|()| fs::write(&part, text))
            .and_then(|()| fs::rename(&part, &file));
        if written.is_err() {
            let _ = fs::remove_file(&part);
        }
    }

    fn file(&self, real: &Path) -> PathBuf {
        let name = sha256_bytes(real.as_os_str().as_encoded_bytes());
        self.folder.join(format!("{}.json", &name[..32]))
    }
}

/// Size and time of modification.
fn identity(path: &Path) -> std::io::Result<(u64, u128)> {
    let metadata = fs::metadata(path)?;
    let modified = metadata.modified()?.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    Ok((metadata.len(), modified))
}

fn hash(path: &Path, progress: &ProgressFn<'_>) -> Result<String, SourceError> {
    let failed = |e| SourceError::io("read", path, e);
    let mut file = File::open(path).map_err(failed)?;
    let total = file.metadata().map_err(failed)?.len();
    let what = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => return Ok(hex(&hasher.finalize())),
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(failed(e)),
        };
        hasher.update(&buffer[..n]);
        done += n as u64;
        progress(Progress { phase: Phase::Verifying, what: &what, done, total: total.max(done) });
    }
}

/// Lower-case hexadecimal digits of some bytes.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::store::tests::Scratch;
    use super::*;

    #[test]
    fn a_stamp_is_trusted_until_size_or_time_change() {
        let scratch = Scratch::new("stamps");
        let stamps = Stamps::new(scratch.path("stamps"));
        let file = scratch.path("file");
        fs::write(&file, "abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(stamps.remembered(&file), None);
        assert_eq!(stamps.sha256(&file, &silent).unwrap(), abc);
        assert_eq!(stamps.remembered(&file).as_deref(), Some(abc));

        fs::write(&file, "abcd").unwrap();
        assert_eq!(stamps.remembered(&file), None, "another size");
        fs::write(&file, "abc").unwrap();
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
        File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
        assert_eq!(stamps.remembered(&file), None, "another time");

        stamps.remember(&file, "not the hash");
        assert_eq!(stamps.sha256(&file, &silent).unwrap(), "not the hash", "a stamp saves the work");
        assert_eq!(stamps.rehash(&file, &silent).unwrap(), abc, "and rehash does not believe it");
    }
}
