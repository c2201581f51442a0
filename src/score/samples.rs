//! Samples: programs for tasks, from a file in an official format.

use std::io::{self, Read};

use super::names::Names;
use crate::task::records::{self, MAX_BYTES, Record, Unreadable};
use crate::task::{PromptKind, Task};

/// A program for a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Index of the task in its dataset.
    pub task: usize,
    /// Line of the samples' file, from 1; 0 when there is none.
    pub line: usize,
    /// The whole program.
    pub program: String,
}

/// Why samples were refused. None of them is used then.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// The file cannot be read.
    #[error("cannot read the samples {file}: {source}")]
    Read {
        /// What the file is called.
        file: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is too large.
    #[error("the samples {file} are larger than {} MiB unpacked; split them", MAX_BYTES >> 20)]
    TooLarge {
        /// What the file is called.
        file: String,
    },
    /// A line is not a sample for one of the tasks.
    #[error("{file}, line {line}: {reason}; correct the line or remove it, nothing has been run")]
    Line {
        /// What the file is called.
        file: String,
        /// Line of the (unpacked) file, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The file holds no sample.
    #[error(
        "{file} holds no sample; give one JSON object a line: {{\"task_id\": …, \"completion\" or \"solution\": …}}"
    )]
    Empty {
        /// What the file is called.
        file: String,
    },
    /// No task has a reference solution.
    #[error("no task of this dataset has a reference solution; give a file of samples")]
    NoReference,
}

/// Reads samples: one JSON object a line (or one array of objects), plain or packed with gzip, with
///
/// - `task_id`, a string or a number: the task's name in the dataset, in upper or lower case, or only what stands
///   after its `/`;
/// - `completion`, what follows the prompt (HumanEval's format) where that is the beginning of a program or asks for a
///   snippet, else a whole program; or `solution`, a whole program (EvalPlus' format), or a snippet too.
///
/// Other fields are ignored. `file` is what error messages call the source.
///
/// # Errors
/// A source that cannot be read or is empty; and any line that is not a sample for one of the tasks: all are
/// refused then.
pub fn read_samples(file: &str, source: impl Read, tasks: &[Task]) -> Result<Vec<Sample>, SampleError> {
    let bad = |line, reason| SampleError::Line { file: file.to_owned(), line, reason };
    let records = records::read(source).map_err(|why| match why {
        Unreadable::Io(source) => SampleError::Read { file: file.to_owned(), source },
        Unreadable::TooLarge => SampleError::TooLarge { file: file.to_owned() },
        Unreadable::Line(line, reason) => bad(line, reason),
    })?;
    if records.is_empty() {
        return Err(SampleError::Empty { file: file.to_owned() });
    }
    let names = Names::new(tasks);
    records
        .iter()
        .map(|(line, record)| sample(record, *line, tasks, &names).map_err(|reason| bad(*line, reason)))
        .collect()
}

fn sample(record: &Record, line: usize, tasks: &[Task], names: &Names<'_>) -> Result<Sample, String> {
    let name = record.id("task_id")?;
    let Some(task) = names.find(&name) else {
        let example = tasks.first().map_or("", |task| &task.id);
        return Err(format!(
            "the dataset has no task `{}` (its tasks are called like `{example}`; is it the dataset that the \
             samples are for?)",
            name.escape_debug()
        ));
    };
    let program = match (record.optional_text("completion")?, record.optional_text("solution")?) {
        (Some(completion), None) => match tasks[task].prompt_kind {
            PromptKind::Code => format!("{}{completion}", tasks[task].prompt),
            PromptKind::Text => completion.to_owned(),
            PromptKind::Snippet => format!("{}{completion}", tasks[task].opening()),
        },
        (None, Some(solution)) => solution.to_owned(),
        (None, None) => {
            return Err(
                "neither `completion` (what follows the prompt) nor `solution` (a whole program) is given"
                    .to_owned(),
            );
        }
        (Some(_), Some(_)) => {
            return Err("both `completion` and `solution` are given, and only one can be scored".to_owned());
        }
    };
    Ok(Sample { task, line, program })
}

/// The dataset's own solutions, in its order. Tasks without one have no sample.
///
/// # Errors
/// When there is none at all.
pub fn reference_samples(tasks: &[Task]) -> Result<Vec<Sample>, SampleError> {
    let sample = |(task, program): (usize, &Task)| {
        Some(Sample { task, line: 0, program: program.reference_solution.clone()? })
    };
    let samples: Vec<Sample> = tasks.iter().enumerate().filter_map(sample).collect();
    if samples.is_empty() { Err(SampleError::NoReference) } else { Ok(samples) }
}
