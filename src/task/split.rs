//! The parts that MBPP's authors cut their tasks into.

use std::ops::RangeInclusive;

use super::{Task, TaskError};

/// The parts, by the numbers of their tasks.
const PARTS: [(&str, RangeInclusive<u64>); 4] =
    [("few-shot", 1..=10), ("test", 11..=510), ("validation", 511..=600), ("train", 601..=974)];

/// The adapters of sets whose tasks have MBPP's numbers.
const ADAPTERS: [&str; 3] = ["mbpp", "mbppplus", "mbpp-et"];

/// Names that [`split`] knows.
pub const SPLITS: [&str; 5] = ["all", "few-shot", "test", "validation", "train"];

/// The tasks of one part, in their order. MBPP is usually scored on `test`, its tasks 11 to 510; `few-shot`, 1 to 10, is
/// for prompts. `all` is every task, of any dataset.
///
/// # Errors
/// Another name; or another than `all` for a dataset that is not MBPP, or that has no task of that part.
pub fn split(adapter: &str, name: &str, tasks: Vec<Task>) -> Result<Vec<Task>, TaskError> {
    if name == "all" {
        return Ok(tasks);
    }
    let wrong = |reason: String| TaskError::Split { name: name.to_owned(), reason };
    let part = PARTS.iter().find(|(other, _)| *other == name);
    let (_, numbers) = part.ok_or_else(|| wrong(format!("use one of {}", SPLITS.join(", "))))?;
    if !ADAPTERS.contains(&adapter) {
        return Err(wrong(format!("only MBPP is cut so, and this is read by `{adapter}`; use `all`")));
    }
    let number = |task: &Task| task.id.rsplit('/').next().and_then(|number| number.parse().ok());
    let found: Vec<Task> = tasks
        .into_iter()
        .filter(|task| number(task).is_some_and(|number| numbers.contains(&number)))
        .collect();
    if found.is_empty() {
        return Err(wrong(format!("the file has no task from {} to {}", numbers.start(), numbers.end())));
    }
    Ok(found)
}
