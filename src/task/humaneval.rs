//! HumanEval, and the sets in its format (`task_id`, `prompt`, `entry_point`, `test`, `canonical_solution`).
//!
//! The split: **guiding** tests are the examples in the docstring, which the prompt shows anyway (see
//! `examples`; a task without readable examples has none and runs unguided). The one **held-out** test is the
//! benchmark's `test`, called with the entry point. Its function `check` gets another name, so that it cannot
//! replace a `check` that the program defines.

use super::examples::from_docstring;
use super::expression::is_name;
use super::records::Record;
use super::{PromptKind, Task, Test};

/// What the benchmark's `check` is called in the held-out test.
const CHECK: &str = "vigor_held_out_check";

pub(super) fn task(record: &Record) -> Result<Task, String> {
    let task = untested(record, "prompt")?;
    let test = held_out(record.text("test")?, record.text("entry_point")?)?;
    Ok(Task { held_out_tests: vec![test], ..task })
}

/// The task but for its held-out tests. Its prompt is the field `field`.
pub(super) fn untested(record: &Record, field: &str) -> Result<Task, String> {
    let prompt = record.text(field)?;
    let entry_point = record.text("entry_point")?;
    if !is_name(entry_point) {
        return Err(format!("the entry point `{entry_point}` is no name of a function"));
    }
    if !prompt.contains(&format!("def {entry_point}(")) {
        return Err(format!("the field `{field}` does not define the entry point `{entry_point}`"));
    }
    Ok(Task {
        id: record.id("task_id")?,
        prompt: prompt.to_owned(),
        prompt_kind: PromptKind::Code,
        entry_point: Some(entry_point.to_owned()),
        imports: String::new(),
        setup: String::new(),
        guiding_tests: from_docstring(prompt, entry_point),
        held_out_tests: Vec::new(),
        reference_solution: record.optional_text("canonical_solution")?.map(|body| format!("{prompt}{body}")),
    })
}

fn held_out(test: &str, entry_point: &str) -> Result<Test, String> {
    let definition = "def check(";
    let mut definitions = 0;
    let renamed: Vec<String> = test
        .lines()
        .map(|line| match line.strip_prefix(definition) {
            Some(rest) => {
                definitions += 1;
                format!("def {CHECK}({rest}")
            }
            None => line.to_owned(),
        })
        .collect();
    if definitions != 1 {
        return Err(format!("the field `test` defines `check` {definitions} times, not once"));
    }
    let source = format!("{}\n\n{CHECK}({entry_point})\n", renamed.join("\n").trim_matches('\n'));
    Ok(Test::statements(source))
}
