//! MBPP, full (`text`, `test_setup_code`) and sanitized (`prompt`, `test_imports`), MBPP-ET, and MBPP+ in the
//! original format.
//!
//! The split: the **guiding** test is the first of `test_list`, the usual one to show in a prompt; the others
//! are **held out**, and so is MBPP+'s own `test`, a script with many more inputs. `challenge_test_list` is not used: eleven tasks have one, and published scores leave it
//! out. The set-up code runs after the program and before the tests, because tasks 367 and 927 set up objects
//! of classes that the program defines. Tasks are called `MBPP/<task_id>`.

use super::expression::{call, calls_of, equality, is_name};
use super::records::Record;
use super::{PromptKind, Task, Test};

pub(super) fn task(record: &Record) -> Result<Task, String> {
    let tests = record.texts("test_list")?;
    let first = tests.first().ok_or("the field `test_list` is missing or empty")?;
    let code = record.optional_text("code")?.map(unix_lines);
    let entry_point = entry_point(first, code.as_deref())
        .ok_or_else(|| format!("the first test calls no function: {first}"))?;
    let prompt = if record.has("text") { record.text("text")? } else { record.text("prompt")? };
    let mut setup = unix_lines(record.optional_text("test_setup_code")?.unwrap_or(""));
    for import in record.texts("test_imports")? {
        setup.push_str(import);
        setup.push('\n');
    }
    let mut held_out_tests: Vec<Test> = tests[1..].iter().map(|source| test(source, &entry_point)).collect();
    if let Some(more) = record.optional_text("test")? {
        held_out_tests.push(Test::statements(more));
    }
    Ok(Task {
        id: format!("MBPP/{}", record.id("task_id")?),
        prompt: prompt.to_owned(),
        prompt_kind: PromptKind::Text,
        imports: String::new(),
        setup,
        guiding_tests: vec![test(first, &entry_point)],
        held_out_tests,
        entry_point: Some(entry_point),
        reference_solution: code,
    })
}

fn unix_lines(text: &str) -> String {
    text.replace("\r\n", "\n")
}

/// A test, taken apart where it says `call == value` of the entry point.
pub(super) fn test(source: &str, entry_point: &str) -> Test {
    let parts = equality(source).filter(|(left, _)| calls_of(left, entry_point).next().is_some());
    Test {
        source: source.to_owned(),
        call: parts.map(|(left, _)| unwrapped(left).to_owned()),
        expected: parts.map(|(_, right)| right.to_owned()),
        script: None,
    }
}

/// `(f(x))` is `f(x)`.
fn unwrapped(expression: &str) -> &str {
    let inner = expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).map(str::trim);
    match inner {
        Some(inner) if call(inner) == Some(inner.len()) => inner,
        _ => expression,
    }
}

/// The function under test: of those that the first test calls, the first that the reference solution
/// defines; without one, the first that is neither an attribute nor a usual wrapper.
fn entry_point(test: &str, code: Option<&str>) -> Option<String> {
    let mut called: Vec<&str> = Vec::new();
    for (at, _) in test.match_indices('(') {
        let before = test[..at].trim_end_matches(' ');
        let start = before
            .rfind(|c: char| c != '_' && !c.is_alphanumeric())
            .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
        let name = &before[start..];
        if is_name(name) && !before[..start].ends_with('.') {
            called.push(name);
        }
    }
    let defined = |name: &str| {
        code.is_some_and(|code| {
            code.lines().any(|line| {
                line.strip_prefix("def ")
                    .and_then(|rest| rest.trim_start().strip_prefix(name))
                    .is_some_and(|rest| rest.trim_start().starts_with('('))
            })
        })
    };
    const WRAPPERS: [&str; 12] = [
        "assert",
        "not",
        "set",
        "sorted",
        "list",
        "tuple",
        "len",
        "round",
        "abs",
        "str",
        "isinstance",
        "all",
    ];
    let by_definition = called.iter().find(|name| defined(name));
    by_definition
        .or_else(|| called.iter().find(|name| !WRAPPERS.contains(name)))
        .map(|name| (*name).to_owned())
}
