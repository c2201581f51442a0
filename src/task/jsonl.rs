//! The generic format, for tasks of your own: one JSON object a task.
//!
//! | field | meaning |
//! | --- | --- |
//! | `task_id` | string or whole number, unique in the file |
//! | `prompt` | the problem |
//! | `prompt_kind` | `code` (the prompt is the beginning of the program) or `text`; without it `code` when the prompt defines the entry point, else `text` |
//! | `entry_point` | name of the function that the tests call; optional |
//! | `guiding_tests` | list of tests that may guide; each a string of Python statements, such as `assert f(1) == 2` |
//! | `held_out_tests` | list of tests that only the score runs |
//! | `tests` | instead of the two: the first guides and the others are held out; a single one is held out |
//! | `setup` | Python that runs after the program and before the tests; optional |
//! | `reference` | a whole program that solves the task; optional |
//!
//! Other fields are ignored. A task without any test is refused: nothing could score it.

use super::expression::is_name;
use super::mbpp;
use super::records::Record;
use super::{PromptKind, Task, Test};

pub(super) fn task(record: &Record) -> Result<Task, String> {
    let prompt = record.text("prompt")?;
    if prompt.trim().is_empty() {
        return Err("the field `prompt` is empty".to_owned());
    }
    let entry_point = record.optional_text("entry_point")?;
    if let Some(name) = entry_point.filter(|name| !is_name(name)) {
        return Err(format!("the entry point `{name}` is no name of a function"));
    }
    let (guiding, held_out) = split(record)?;
    let tests = |sources: Vec<&str>| sources.into_iter().map(|source| test(source, entry_point)).collect();
    Ok(Task {
        id: record.id("task_id")?,
        prompt: prompt.to_owned(),
        prompt_kind: prompt_kind(record, prompt, entry_point)?,
        entry_point: entry_point.map(str::to_owned),
        imports: String::new(),
        setup: record.optional_text("setup")?.unwrap_or("").to_owned(),
        guiding_tests: tests(guiding),
        held_out_tests: tests(held_out),
        reference_solution: record.optional_text("reference")?.map(str::to_owned),
    })
}

fn prompt_kind(record: &Record, prompt: &str, entry_point: Option<&str>) -> Result<PromptKind, String> {
    match record.optional_text("prompt_kind")? {
        Some("code") => Ok(PromptKind::Code),
        Some("text") => Ok(PromptKind::Text),
        Some(other) => Err(format!("the field `prompt_kind` is `{other}`; use `code` or `text`")),
        None if entry_point.is_some_and(|name| prompt.contains(&format!("def {name}("))) => {
            Ok(PromptKind::Code)
        }
        None => Ok(PromptKind::Text),
    }
}

fn split(record: &Record) -> Result<(Vec<&str>, Vec<&str>), String> {
    let (guiding, held_out) = (record.texts("guiding_tests")?, record.texts("held_out_tests")?);
    let tests = record.texts("tests")?;
    if tests.is_empty() && guiding.is_empty() && held_out.is_empty() {
        return Err("the task has no test; give `guiding_tests` and `held_out_tests`, or `tests`".to_owned());
    }
    if tests.is_empty() {
        return Ok((guiding, held_out));
    }
    if !guiding.is_empty() || !held_out.is_empty() {
        return Err("give either `tests`, or `guiding_tests` and `held_out_tests`, not both".to_owned());
    }
    let guiding = usize::from(tests.len() > 1);
    Ok((tests[..guiding].to_vec(), tests[guiding..].to_vec()))
}

fn test(source: &str, entry_point: Option<&str>) -> Test {
    match entry_point {
        Some(name) => mbpp::test(source, name),
        None => Test::statements(source),
    }
}
