//! The prompt styles: named sets of texts that ask for a program in different ways.
//!
//! Their kinds are those of EG-CFG's experiments (a few solved examples; constraints that make every line a step of
//! its own), the words are ours.

use serde::{Deserialize, Serialize};

use crate::task::Task;

/// How a prompt asks for the program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PromptStyle {
    /// The task alone, in the texts of `[prompts]` where it has any.
    #[default]
    #[serde(rename = "default")]
    Default,
    /// A persona, three solved examples, then the task with its guiding tests.
    #[serde(rename = "instruct-3-shot")]
    Instruct3Shot,
    /// The same persona, the task with its guiding tests, and constraints: many short lines, each a valid beginning of
    /// a program, with pairs of wrong and right.
    #[serde(rename = "long-code")]
    LongCode,
}

impl PromptStyle {
    /// The style's name as written in configurations, manifests and names of cells.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Instruct3Shot => "instruct-3-shot",
            Self::LongCode => "long-code",
        }
    }

    /// Whether this is [`Self::Default`], which files leave out.
    pub fn is_default(&self) -> bool {
        *self == Self::Default
    }

    /// Whether its prompt shows solved examples.
    pub fn shows_examples(self) -> bool {
        self == Self::Instruct3Shot
    }

    /// The template of its message; `None` for the style that takes the texts of `[prompts]`.
    pub(super) fn message(self) -> Option<&'static str> {
        match self {
            Self::Default => None,
            Self::Instruct3Shot => Some(include_str!("styles/instruct_3_shot.jinja")),
            Self::LongCode => Some(include_str!("styles/long_code.jinja")),
        }
    }
}

/// What the model of a named style is told to be.
pub(super) const PERSONA: &str =
    "You are a programming assistant that answers every task with correct, readable Python code.";

/// What surrounds the prompt's text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// The model's chat template, where it has one.
    #[default]
    Chat,
    /// Plain text, also for a chat model: what a base model gets anyway. In a named style the text is an instruction, and
    /// a mark after it says where the answer begins.
    Raw,
}

impl Layout {
    /// Whether this is [`Self::Chat`], which files leave out.
    pub fn is_chat(&self) -> bool {
        *self == Self::Chat
    }
}

/// A solved problem that a prompt shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The task that it is, where it comes from a dataset: the prompt of that very task does not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// The problem.
    pub prompt: String,
    /// Tests that the solution passes, as Python statements.
    pub tests: Vec<String>,
    /// The solution.
    pub code: String,
}

/// The tasks of MBPP that prompts customarily show, from its authors' split for prompting.
const CUSTOMARY: [&str; 3] = ["MBPP/2", "MBPP/3", "MBPP/4"];

/// Tests that an example shows at most.
const TESTS_SHOWN: usize = 3;

impl Example {
    /// The examples that are customary for a dataset, made of its own tasks: MBPP's tasks 2, 3 and 4. Empty where it does
    /// not hold all of them, with solutions.
    pub fn customary(tasks: &[Task]) -> Vec<Self> {
        let find = |id: &str| Self::of_task(tasks.iter().find(|task| task.id == id)?);
        CUSTOMARY.iter().map(|id| find(id)).collect::<Option<_>>().unwrap_or_default()
    }

    /// A task with its reference solution and its first tests of one line; `None` where it lacks one of them.
    fn of_task(task: &Task) -> Option<Self> {
        let tests = task.guiding_tests.iter().chain(&task.held_out_tests).map(|test| test.source.trim());
        let tests: Vec<String> =
            tests.filter(|test| !test.contains('\n')).take(TESTS_SHOWN).map(str::to_owned).collect();
        let code = task.reference_solution.as_ref()?.trim().to_owned();
        let prompt = task.prompt.trim().to_owned();
        (!tests.is_empty()).then(|| Self { task_id: Some(task.id.clone()), prompt, tests, code })
    }
}

/// Our own examples, for datasets that have no customary ones.
pub fn own_examples() -> Vec<Example> {
    serde_json::from_str(include_str!("styles/examples.json")).expect("the examples are valid JSON")
}
