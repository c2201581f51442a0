//! What can go wrong with a run, and what to do about it.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a run cannot begin, go on, or be read.
#[derive(Debug, Error)]
pub enum RunError {
    /// The system refused something.
    #[error("cannot {action} {path}: {source}{hint}", hint = hint(action, source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file of the run does not hold what it should.
    #[error("{path}{at} is malformed: {source}", at = if *line == 0 { String::new() } else { format!(":{line}") })]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line in it, from 1; 0 when it is not a file of lines.
        line: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Another process holds the lock of the run, which processes hold for moments only.
    #[error(
        "{path} has been held for {seconds} s by another process, which is stopped or of an older vigor; end that \
         process, or choose another `out` folder"
    )]
    Locked {
        /// The lock.
        path: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Two processes came to different results of one session.
    #[error(
        "session {session} came to different results: in {path}, and in {other}. Results depend on nothing that may \
         differ between processes of one run, unless a file was changed or system libraries compute differently; \
         delete the wrong one's file to have the session computed again"
    )]
    Contradiction {
        /// The session: its task and its cell.
        session: String,
        /// The file of the one.
        path: PathBuf,
        /// What holds the other.
        other: String,
    },
    /// The folder holds another experiment.
    #[error(
        "{dir} holds a run with another `{key}`: it has {old}, given is {new}. \
         Restore it{how} to go on with that run, or choose another `out` folder",
        how = if key == "model.arithmetic" { " with --device" } else { "" }
    )]
    Differs {
        /// The folder of the run.
        dir: PathBuf,
        /// The key that differs.
        key: String,
        /// Its value in the folder's manifest.
        old: String,
        /// Its value now.
        new: String,
    },
    /// Folders that are to be put together hold different experiments.
    #[error(
        "{dir} is not of the experiment in {with}: `{key}` is {other}, there it is {first}; only folders of one \
         experiment can be put together"
    )]
    OtherExperiment {
        /// The folder.
        dir: PathBuf,
        /// The first folder.
        with: PathBuf,
        /// The key that differs.
        key: String,
        /// Its value in the first folder.
        first: String,
        /// Its value in `dir`.
        other: String,
    },
    /// A file is of a later version of this program.
    #[error(
        "{path} has schema version {found}, this program knows versions up to {known}; use a newer vigor"
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The latest version that can be read.
        known: u32,
    },
    /// An output holds sessions that the journal does not.
    #[error(
        "{path} holds complete lines from line {line} on that the journal beside it ({journal}) does not; nothing was \
         changed. Restore the missing journal files, or delete those lines to compute their sessions again"
    )]
    BeyondJournal {
        /// The output.
        path: PathBuf,
        /// First such line, from 1.
        line: usize,
        /// The journal's folder.
        journal: PathBuf,
    },
    /// A journal file, or the folder of them, does not belong to the run.
    #[error(
        "{path} is not part of the journal of this run: {reason}; delete it to compute its sessions again"
    )]
    Journal {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The tasks asked for cannot be had.
    #[error("dataset {dataset:?}: {reason}")]
    Tasks {
        /// The dataset.
        dataset: String,
        /// What is wrong, and what there is.
        reason: String,
    },
    /// A session failed for a reason that is not the program that it wrote.
    #[error(
        "session {index} (task {task}, cell {cell}) failed: {reason}. \
         {finished} finished sessions are kept; run the same command again to go on"
    )]
    Session {
        /// Which session.
        index: usize,
        /// Its task.
        task: String,
        /// Its cell.
        cell: String,
        /// What happened.
        reason: String,
        /// Sessions in the journal.
        finished: usize,
    },
}

impl RunError {
    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}

/// What the user can do about it.
fn hint(action: &str, source: &std::io::Error) -> &'static str {
    use std::io::ErrorKind::{
        AlreadyExists, NotADirectory, NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem,
        StorageFull, Unsupported,
    };
    match source.kind() {
        StorageFull | QuotaExceeded => {
            "; finished sessions are kept: free some space and run the same command again to go on"
        }
        Unsupported if action == "lock" => {
            "; the file system of a run's folder must have locks: mount it with them, or choose another folder with --out"
        }
        NotFound | NotADirectory if action == "read" => "; give the folder of a run",
        NotFound | NotADirectory | AlreadyExists | PermissionDenied | ReadOnlyFilesystem
            if action != "read" =>
        {
            "; choose another folder with --out"
        }
        _ => "",
    }
}
