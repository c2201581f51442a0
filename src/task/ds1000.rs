//! DS-1000 in its simplified format: `prompt`, `reference_code`, `metadata` (`problem_id`), and `code_context`, which
//! defines `test_execution` and may define `test_string`, both of the text of a solution.
//!
//! What is asked for is a [snippet](PromptKind::Snippet): `test_execution` puts it into programs of its own, several
//! where the task has several inputs, and runs those. It is run by nothing else.
//!
//! The split: there is **no guiding** test, because a prompt shows data and wishes in words and no call with a result.
//! Held out is **one test**, that of the official evaluation: `code_context`, then a call of each of its two functions.
//! It stands or falls as a whole, and is judged inside of the process that runs the snippet.
//!
//! The **reference** is `reference_code`. Tasks are called `DS-1000/<problem_id>`.

use serde_json::Value;

use super::records::Record;
use super::{PromptKind, SNIPPET, Task, Test};

pub(super) fn task(record: &Record) -> Result<Task, String> {
    let prompt = record.text("prompt")?;
    if prompt.trim().is_empty() {
        return Err("the field `prompt` is empty".to_owned());
    }
    let number = record.object("metadata")?.and_then(|metadata| metadata.get("problem_id"));
    let number = number.and_then(Value::as_u64);
    Ok(Task {
        id: format!("DS-1000/{}", number.ok_or("the field `metadata` has no number `problem_id`")?),
        prompt: prompt.to_owned(),
        prompt_kind: PromptKind::Snippet,
        entry_point: None,
        imports: String::new(),
        setup: String::new(),
        guiding_tests: Vec::new(),
        held_out_tests: vec![held_out(record.text("code_context")?)?],
        reference_solution: record.optional_text("reference_code")?.map(str::to_owned),
    })
}

fn held_out(context: &str) -> Result<Test, String> {
    let defines = |name: &str| context.lines().any(|line| line.starts_with(&format!("def {name}(")));
    if !defines("test_execution") {
        return Err("the field `code_context` does not define `test_execution`".to_owned());
    }
    let mut source = format!("{}\n\ntest_execution({SNIPPET})\n", context.trim_end());
    if defines("test_string") {
        source += &format!("test_string({SNIPPET})\n");
    }
    Ok(Test::statements(source))
}
