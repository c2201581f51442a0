//! A dataset's file to tasks.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::records::{self, MAX_BYTES, Record, Unreadable};
use super::{
    Task, apps, bigcodebench, codecontests, ds1000, humaneval, humaneval_et, humaneval_plus, jsonl,
    livecodebench, mbpp, mbpp_plus,
};

/// Why a dataset was refused. Nothing of it is used then.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The file cannot be read.
    #[error("cannot read the dataset {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// No such adapter.
    #[error("there is no dataset adapter `{name}`; use one of {}", ADAPTERS.join(", "))]
    Adapter {
        /// The name asked for.
        name: String,
    },
    /// A record is not what the adapter reads.
    #[error("{}, line {line}: {reason}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Line of the (unpacked) file on which the record begins, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The file holds no task.
    #[error("the dataset {} holds no task; give a file with one JSON object a line, or a JSON array", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Not a part of the dataset.
    #[error("there is no split `{name}`: {reason}")]
    Split {
        /// The name asked for.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is too large.
    #[error("the dataset {} is larger than {} MiB unpacked; split it", path.display(), MAX_BYTES >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

/// Names of the adapters.
pub const ADAPTERS: [&str; 12] = [
    "humaneval",
    "humanevalplus",
    "humaneval-et",
    "mbpp",
    "mbppplus",
    "mbpp-et",
    "apps",
    "codecontests",
    "livecodebench",
    "bigcodebench",
    "ds1000",
    "jsonl",
];

/// Reads the tasks of a dataset, in the file's order.
///
/// `adapter` is one of [`ADAPTERS`]. The file holds one JSON object a line, or one JSON array of objects, plain
/// or packed with gzip (told by its first bytes, not by its name). For `apps` it may be a folder with one folder a task.
///
/// # Errors
/// A file that cannot be read, an unknown adapter, an empty file; and any line that is not a task of that
/// format, or whose identifier an earlier one has: the whole file is refused then.
pub fn load(adapter: &str, path: &Path) -> Result<Vec<Task>, TaskError> {
    let read: fn(&Record) -> Result<Task, String> = match adapter {
        "humaneval" => humaneval::task,
        "humanevalplus" => humaneval_plus::task,
        "humaneval-et" => humaneval_et::task,
        "mbpp" | "mbpp-et" => mbpp::task,
        "mbppplus" => mbpp_plus::task,
        "apps" if path.is_dir() => return folders(path, &apps::FILES, "problem_id", apps::task),
        "apps" => apps::task,
        "codecontests" => codecontests::task,
        "livecodebench" => livecodebench::task,
        "bigcodebench" => bigcodebench::task,
        "ds1000" => ds1000::task,
        "jsonl" => jsonl::task,
        other => return Err(TaskError::Adapter { name: other.to_owned() }),
    };
    let bad = |line: usize, reason: String| TaskError::Record { path: path.to_owned(), line, reason };
    let refused = |why: Unreadable| match why {
        Unreadable::Io(source) => TaskError::Read { path: path.to_owned(), source },
        Unreadable::TooLarge => TaskError::TooLarge { path: path.to_owned() },
        Unreadable::Line(line, reason) => bad(line, reason),
    };
    let file = File::open(path).map_err(|source| refused(Unreadable::Io(source)))?;
    let mut lines_of_ids: HashMap<String, usize> = HashMap::new();
    let mut tasks = Vec::new();
    for (line, record) in records::read(file).map_err(refused)? {
        let task = read(&record).map_err(|reason| bad(line, reason))?;
        if let Some(first) = lines_of_ids.insert(task.id.clone(), line) {
            return Err(bad(line, format!("the task `{}` is on line {first} already", task.id)));
        }
        tasks.push(task);
    }
    if tasks.is_empty() {
        return Err(TaskError::Empty { path: path.to_owned() });
    }
    Ok(tasks)
}

/// Reads tasks that are folders, in the order of their names. Each of `files` that is there becomes a field, and the
/// folder's name becomes the field `id`. Folders with none of them are passed over.
fn folders(
    path: &Path,
    files: &[(&str, &str)],
    id: &str,
    read: fn(&Record) -> Result<Task, String>,
) -> Result<Vec<Task>, TaskError> {
    let unreadable = |path: &Path, source| TaskError::Read { path: path.to_owned(), source };
    let entries = fs::read_dir(path).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let mut folders: Vec<PathBuf> =
        entries.map_err(|source| unreadable(path, source))?.into_iter().map(|entry| entry.path()).collect();
    folders.sort();
    let mut tasks: Vec<Task> = Vec::new();
    for folder in folders.into_iter().filter(|folder| folder.is_dir()) {
        let mut fields = Vec::new();
        for (file, field) in files {
            let file = folder.join(file);
            if file.is_file() {
                let text = fs::read_to_string(&file).map_err(|source| unreadable(&file, source))?;
                fields.push(((*field).to_owned(), text));
            }
        }
        if fields.is_empty() {
            continue;
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        fields.push((id.to_owned(), name));
        let bad = |reason| TaskError::Record { path: folder.clone(), line: 1, reason };
        let task = read(&Record::of_texts(fields)).map_err(bad)?;
        if tasks.iter().any(|other| other.id == task.id) {
            return Err(bad(format!("another folder is the task `{}` already", task.id)));
        }
        tasks.push(task);
    }
    if tasks.is_empty() {
        return Err(TaskError::Empty { path: path.to_owned() });
    }
    Ok(tasks)
}
