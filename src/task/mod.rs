//! Tasks: one programming problem each, read from a benchmark's original files.
//!
//! Guiding tests (the loop may run them while it writes) and held-out tests (only the final score may run
//! them) are separate from the first day; an adapter says how it split them.

mod examples;
mod expression;
mod humaneval;
mod jsonl;
mod load;
mod mbpp;
pub(crate) mod records;

pub use load::{ADAPTERS, TaskError, load};

use serde::{Deserialize, Serialize};

/// One test of a task: Python statements that run after the program, in its namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    /// The statements, for example `assert add(1, 2) == 3`. The test passes when they all run to the end.
    pub source: String,
    /// The call under test as an expression (`add(1, 2)`), when the test has the form `call == expected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// The expected value as a Python expression, when the test has that form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

/// What a task's prompt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptKind {
    /// The beginning of a program (signature and docstring), to be completed.
    Code,
    /// A description in words.
    Text,
}

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
