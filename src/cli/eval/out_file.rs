//! Files that are never half-written.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::cli::exit::{Failure, WRITE};

/// A file that is there whole or not at all: it gets its name at the end.
pub struct OutFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl OutFile {
    /// Opens it under another name, so that a file that cannot be written is known of early.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let fail = |reason: String| {
            Failure::message(
                WRITE,
                format!("cannot write {}: {reason}; choose another --out", path.display()),
            )
        };
        if path.exists() && !path.is_file() {
            return Err(fail("it is there and is no file".to_owned()));
        }
        // A link stays one: what it points to is replaced.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut name = path.file_name().ok_or_else(|| fail("it names no file".to_owned()))?.to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = File::create(&temporary).map_err(|error| fail(error.to_string()))?;
        Ok(Self { file, temporary, path })
    }

    /// Writes it and gives it its name.
    pub fn finish(mut self, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.path.display();
        self.file
            .write_all(bytes)
            .and_then(|()| self.file.sync_all())
            .and_then(|()| std::fs::rename(&self.temporary, &self.path))
            .map_err(|error| Failure::message(WRITE, format!("cannot write {path}: {error}")))
    }
}

impl Drop for OutFile {
    /// Removes what has not got its name.
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.temporary);
    }
}
