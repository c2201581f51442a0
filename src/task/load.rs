//! A dataset's file to tasks.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};

use super::{Task, humaneval, jsonl, mbpp};

/// Most bytes that a dataset may have, unpacked.
const MAX_BYTES: u64 = 1 << 30;

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
    /// The file is too large.
    #[error("the dataset {} is larger than {} MiB unpacked; split it", path.display(), MAX_BYTES >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

/// Names of the adapters.
pub const ADAPTERS: [&str; 3] = ["humaneval", "mbpp", "jsonl"];

/// Reads the tasks of a dataset, in the file's order.
///
/// `adapter` is one of [`ADAPTERS`]. The file holds one JSON object a line, or one JSON array of objects, plain
/// or packed with gzip (told by its first bytes, not by its name).
///
/// # Errors
/// A file that cannot be read, an unknown adapter, an empty file; and any line that is not a task of that
/// format, or whose identifier an earlier one has: the whole file is refused then.
pub fn load(adapter: &str, path: &Path) -> Result<Vec<Task>, TaskError> {
    let read: fn(&Record) -> Result<Task, String> = match adapter {
        "humaneval" => humaneval::task,
        "mbpp" => mbpp::task,
        "jsonl" => jsonl::task,
        other => return Err(TaskError::Adapter { name: other.to_owned() }),
    };
    let bad = |line: usize, reason: String| TaskError::Record { path: path.to_owned(), line, reason };
    let bytes = read_file(path)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        bad(line_of(error.as_bytes(), valid), "the text is not UTF-8".to_owned())
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut lines_of_ids: HashMap<String, usize> = HashMap::new();
    let mut tasks = Vec::new();
    for (line, value) in records(text).map_err(|(line, reason)| bad(line, reason))? {
        let Value::Object(fields) = value else {
            return Err(bad(line, "a task is a JSON object".to_owned()));
        };
        let task = read(&Record { fields }).map_err(|reason| bad(line, reason))?;
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

fn read_file(path: &Path) -> Result<Vec<u8>, TaskError> {
    let read_error = |source| TaskError::Read { path: path.to_owned(), source };
    let mut packed = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut packed))
        .map_err(read_error)?;
    let bytes = if packed.starts_with(&[0x1f, 0x8b]) {
        let mut bytes = Vec::new();
        MultiGzDecoder::new(packed.as_slice())
            .take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(read_error)?;
        bytes
    } else {
        packed
    };
    if bytes.len() as u64 > MAX_BYTES {
        return Err(TaskError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

fn line_of(text: &[u8], offset: usize) -> usize {
    1 + text[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

type Records = Result<Vec<(usize, Value)>, (usize, String)>;

/// The JSON values of a file with the lines that they begin on.
fn records(text: &str) -> Records {
    if text.trim_start().starts_with('[') { array(text) } else { lines(text) }
}

/// What is wrong with a record; its own line numbers begin anew in each record and would mislead.
fn not_json(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]);
    format!("not JSON: {what}, at column {}", error.column())
}

fn lines(text: &str) -> Records {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| match serde_json::from_str(line) {
            Ok(value) => Ok((index + 1, value)),
            Err(error) => Err((index + 1, not_json(&error))),
        })
        .collect()
}

fn array(text: &str) -> Records {
    let mut records = Vec::new();
    let mut at = text.len() - text.trim_start().len() + 1;
    let expect = |at: usize, what: &str| (line_of(text.as_bytes(), at), format!("not JSON: expected {what}"));
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        if text[at..].starts_with(']') && records.is_empty() {
            at += 1;
            break;
        }
        let line = line_of(text.as_bytes(), at);
        let mut stream = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>();
        match stream.next() {
            Some(Ok(value)) => records.push((line, value)),
            Some(Err(error)) => {
                return Err((line + error.line().saturating_sub(1), not_json(&error)));
            }
            None => return Err((line, "not JSON: the array is not closed".to_owned())),
        }
        at += stream.byte_offset();
        at += text[at..].len() - text[at..].trim_start().len();
        match text[at..].chars().next() {
            Some(',') => at += 1,
            Some(']') => {
                at += 1;
                break;
            }
            _ => return Err(expect(at, "`,` or `]`")),
        }
    }
    at += text[at..].len() - text[at..].trim_start().len();
    if at < text.len() {
        return Err(expect(at, "nothing after the array"));
    }
    Ok(records)
}

/// One object of a dataset; its accessors say which field is wrong.
pub(super) struct Record {
    fields: Map<String, Value>,
}

impl Record {
    /// Whether the field is there and not null.
    pub(super) fn has(&self, field: &str) -> bool {
        self.fields.get(field).is_some_and(|value| !value.is_null())
    }

    pub(super) fn text(&self, field: &str) -> Result<&str, String> {
        self.optional_text(field)?.ok_or_else(|| format!("the field `{field}` is missing"))
    }

    pub(super) fn optional_text(&self, field: &str) -> Result<Option<&str>, String> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(format!("the field `{field}` is {}, not a string", kind(other))),
        }
    }

    /// A list of strings; an absent one is empty.
    pub(super) fn texts(&self, field: &str) -> Result<Vec<&str>, String> {
        let wrong = || format!("the field `{field}` is not a list of strings");
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => items.iter().map(|item| item.as_str().ok_or_else(wrong)).collect(),
            Some(_) => Err(wrong()),
        }
    }

    /// An identifier: a string that is not empty, or a whole number.
    pub(super) fn id(&self, field: &str) -> Result<String, String> {
        match self.fields.get(field) {
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.clone()),
            Some(Value::Number(number)) if number.is_i64() || number.is_u64() => Ok(number.to_string()),
            Some(_) => Err(format!("the field `{field}` is neither a name nor a whole number")),
            None => Err(format!("the field `{field}` is missing")),
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
