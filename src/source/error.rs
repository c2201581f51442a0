//! What can go wrong between a name and a verified file on disk.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::Kind;

/// One source that was tried, and why it did not give the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Which source, in words.
    pub source: String,
    /// Why it failed, in one sentence.
    pub why: String,
}

/// Failure to find, fetch or verify a model or a dataset.
#[derive(Debug, Error)]
pub enum SourceError {
    /// Neither a path on disk nor a known name.
    #[error(
        "no {kind} is called `{name}` and no such path exists; known: {known}. Give one of these names, a path, or a hub repository as `owner/name`"
    )]
    Unknown {
        /// Model or dataset.
        kind: Kind,
        /// What was asked for.
        name: String,
        /// The known names.
        known: String,
    },
    /// A path that exists but does not hold what is needed.
    #[error("{}: {why}", path.display())]
    Unusable {
        /// The path.
        path: PathBuf,
        /// What is wrong with it and what to do.
        why: String,
    },
    /// Every source failed.
    #[error("cannot get the {kind} `{name}`:{}\n{remedy}", listed(attempts))]
    Unavailable {
        /// Model or dataset.
        kind: Kind,
        /// Its name.
        name: String,
        /// Every source that was tried, in order.
        attempts: Vec<Attempt>,
        /// What the user can do.
        remedy: String,
    },
    /// A file whose bytes are not those that its manifest promises.
    #[error("{}: {why}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Which promise does not hold, and the remedy.
        why: String,
    },
    /// A manifest that cannot be used.
    #[error("manifest {origin}: {why}")]
    Manifest {
        /// File name of the manifest.
        origin: String,
        /// What is wrong in it.
        why: String,
    },
    /// No folder to keep files in.
    #[error("there is no folder to keep files in: set VIGOR_CACHE, XDG_CACHE_HOME or HOME")]
    NoCache,
    /// The disk is full. Nothing half-written is left.
    #[error("the disk that holds {} is full: {needed} bytes were needed for {what}; free some space, or set VIGOR_CACHE to a folder on another disk", folder.display())]
    DiskFull {
        /// The folder that was written to.
        folder: PathBuf,
        /// Size of the file that did not fit.
        needed: u64,
        /// Its name.
        what: String,
    },
    /// Any other failure of the file system.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted, as a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}

impl SourceError {
    pub(super) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        if source.kind() == std::io::ErrorKind::StorageFull {
            let folder = path.parent().unwrap_or(path).to_path_buf();
            let what = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            return Self::DiskFull { folder, needed: 0, what };
        }
        Self::Io { action, path: path.to_path_buf(), source }
    }

    /// True where no other source can help, so that trying them would only hide the cause.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::DiskFull { .. } | Self::Io { .. } | Self::NoCache)
    }
}

fn listed(attempts: &[Attempt]) -> String {
    attempts.iter().map(|attempt| format!("\n  {}: {}", attempt.source, attempt.why)).collect()
}
