//! Tasks: one programming problem each, read from a benchmark's original files.
//!
//! Guiding tests (the loop may run them while it writes) and held-out tests (only the final score may run
//! them) are separate from the first day; an adapter says how it split them.

mod apps;
mod bigcodebench;
mod codecontests;
mod contest;
mod ds1000;
mod evalplus;
mod examples;
mod expression;
mod humaneval;
mod humaneval_et;
mod humaneval_plus;
mod json;
mod jsonl;
mod livecodebench;
mod load;
mod mbpp;
mod mbpp_plus;
mod packed;
pub(crate) mod records;
mod split;

pub use load::{ADAPTERS, TaskError, load};
pub use split::{SPLITS, split};

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::sandbox::{ExecTest, ScriptTest};

/// One test of a task: Python statements that run after the program, in its namespace; or a run of the whole program
/// as a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    /// The statements, for example `assert add(1, 2) == 3`. The test passes when they all run to the end. Of a
    /// script, its input and output as a reader is shown them, cut where they are long.
    pub source: String,
    /// The call under test as an expression (`add(1, 2)`), when the test has the form `call == expected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// The expected value as a Python expression, when the test has that form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What the program reads and should print, where the test runs it as a script. Nothing else counts then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<ScriptTest>,
}

impl Test {
    /// Statements that are not taken apart.
    pub fn statements(source: impl Into<String>) -> Test {
        Test { source: source.into(), call: None, expected: None, script: None }
    }

    /// A run of the program as a script.
    pub fn script(script: ScriptTest) -> Test {
        let source = format!("Input:\n{}\nOutput:\n{}\n", shown(&script.stdin), shown(&script.stdout));
        Test { source, call: None, expected: None, script: Some(script) }
    }

    /// What is asked of the program, without what it should answer.
    pub fn invocation(&self) -> Cow<'_, str> {
        match (&self.script, &self.call) {
            (Some(script), _) => {
                Cow::Owned(format!("the whole program, with this standard input:\n{}", shown(&script.stdin)))
            }
            (None, Some(call)) => Cow::Borrowed(call),
            (None, None) => Cow::Borrowed(&self.source),
        }
    }

    /// The test as the sandbox runs it; `setup` runs before statements.
    pub fn to_exec(&self, setup: &str) -> ExecTest {
        match (&self.script, setup.trim_end()) {
            (Some(script), _) => ExecTest::Script(script.clone()),
            (None, "") => ExecTest::Python(self.source.clone()),
            (None, setup) => ExecTest::Python(format!("{setup}\n{}", self.source)),
        }
    }
}

/// A text as a reader is shown it.
fn shown(text: &str) -> Cow<'_, str> {
    const SHOWN: usize = 2000;
    let text = text.trim_end();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}\n… ({} bytes in all)", &text[..end], text.len())),
        None => Cow::Borrowed(text),
    }
}

/// What a task's prompt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptKind {
    /// The beginning of a program (signature and docstring), to be completed.
    Code,
    /// A description in words.
    Text,
    /// A description, and code that ends where the answer is to begin. The answer is a snippet: tests put its text into
    /// programs of their own.
    Snippet,
}

/// The name under which tests find the text of a snippet.
pub const SNIPPET: &str = "vigor_snippet";

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Unique in its dataset, for example `HumanEval/0`.
    pub id: String,
    /// The benchmark's own prompt, unchanged.
    pub prompt: String,
    /// What the prompt is.
    pub prompt_kind: PromptKind,
    /// Name of the function that the tests call.
    pub entry_point: Option<String>,
    /// Python that the benchmark runs before a program: imports that its programs may leave out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub imports: String,
    /// Python that the tests need in the namespace (MBPP's `test_setup_code`); runs after the program.
    #[serde(default)]
    pub setup: String,
    /// Tests that the loop may run while it writes.
    pub guiding_tests: Vec<Test>,
    /// Tests that only the final score may run.
    pub held_out_tests: Vec<Test>,
    /// The benchmark's own solution (a whole program), where it has one. Never shown to a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_solution: Option<String>,
}

impl Task {
    /// The header of the function in whose body the snippet is to stand, with its newline; empty for other tasks, and
    /// where it stands at the top level. What is written begins with it, so that it is Python by itself; tests get what
    /// comes after it.
    pub fn opening(&self) -> String {
        let is_in_body =
            |prompt: &str| prompt.lines().next_back().is_some_and(|line| line.starts_with([' ', '\t']));
        if self.prompt_kind != PromptKind::Snippet || !is_in_body(self.prompt.trim_end()) {
            return String::new();
        }
        let header =
            self.prompt.lines().rfind(|line| line.starts_with("def ") && line.trim_end().ends_with(':'));
        header.map_or_else(String::new, |header| format!("{header}\n"))
    }

    /// The program that runs before the tests, for what was written: itself, or the statement that gives them the text of a
    /// snippet.
    pub fn program<'a>(&self, written: &'a str) -> Cow<'a, str> {
        if self.prompt_kind != PromptKind::Snippet {
            return Cow::Borrowed(written);
        }
        let snippet = written.strip_prefix(&self.opening()).unwrap_or(written);
        Cow::Owned(format!("{SNIPPET} = {}\n", json::quoted(snippet)))
    }
}
