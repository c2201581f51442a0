//! The generic format, for tasks of your own: one JSON object a task.
//!
//! | field | meaning |
//! | --- | --- |
//! | `task_id` | string or whole number, unique in the file |
//! | `prompt` | the problem |
//! | `prompt_kind` | `code` (the prompt is the beginning of the program) or `text`; without it `code` when the prompt defines the entry point, else `text` |
//! | `entry_point` | name of the function that the tests call; optional |
//! | `guiding_tests` | list of tests that may guide; each a string of Python statements, such as `assert f(1) == 2`, or `{"input": …, "output": …}`: what the program, run as a script, reads and should print |
//! | `held_out_tests` | list of tests that only the score runs |
//! | `tests` | instead of the two: the first guides and the others are held out; a single one is held out |
//! | `setup` | Python that runs after the program and before the tests; optional |
//! | `reference` | a whole program that solves the task; optional |
//!
//! Other fields are ignored. A task without any test is refused: nothing could score it.

use serde_json::Value;

use super::contest::{first_guides, script};
use super::expression::is_name;
use super::mbpp;
use super::records::Record;
use super::{PromptKind, Task, Test};
use crate::sandbox::Comparison;

pub(super) fn task(record: &Record) -> Result<Task, String> {
    let prompt = record.text("prompt")?;
    if prompt.trim().is_empty() {
        return Err("the field `prompt` is empty".to_owned());
    }
    let entry_point = record.optional_text("entry_point")?;
    if let Some(name) = entry_point.filter(|name| !is_name(name)) {
        return Err(format!("the entry point `{name}` is no name of a function"));
    }
    let (guiding_tests, held_out_tests) = split(record, entry_point)?;
    Ok(Task {
        id: record.id("task_id")?,
        prompt: prompt.to_owned(),
        prompt_kind: prompt_kind(record, prompt, entry_point)?,
        entry_point: entry_point.map(str::to_owned),
        imports: String::new(),
        setup: record.optional_text("setup")?.unwrap_or("").to_owned(),
        guiding_tests,
        held_out_tests,
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

fn split(record: &Record, entry_point: Option<&str>) -> Result<(Vec<Test>, Vec<Test>), String> {
    let tests = |field: &str| -> Result<Vec<Test>, String> {
        record.list(field)?.iter().map(|item| test(item, field, entry_point)).collect()
    };
    let (guiding, held_out, tests) = (tests("guiding_tests")?, tests("held_out_tests")?, tests("tests")?);
    if tests.is_empty() && guiding.is_empty() && held_out.is_empty() {
        return Err("the task has no test; give `guiding_tests` and `held_out_tests`, or `tests`".to_owned());
    }
    if tests.is_empty() {
        return Ok((guiding, held_out));
    }
    if !guiding.is_empty() || !held_out.is_empty() {
        return Err("give either `tests`, or `guiding_tests` and `held_out_tests`, not both".to_owned());
    }
    Ok(first_guides(tests))
}

fn test(item: &Value, field: &str, entry_point: Option<&str>) -> Result<Test, String> {
    let text = |name: &str| item.get(name).and_then(Value::as_str);
    match (item.as_str(), entry_point, text("input"), text("output")) {
        (Some(source), Some(name), ..) => Ok(mbpp::test(source, name)),
        (Some(source), None, ..) => Ok(Test::statements(source)),
        (None, _, Some(input), Some(output)) => Ok(script(input, output, Comparison::Text)),
        _ => Err(format!(
            "the field `{field}` is not a list of strings (Python statements) or of {{\"input\": …, \"output\": …}} with texts"
        )),
    }
}
