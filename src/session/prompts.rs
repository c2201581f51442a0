//! The texts given to the model: templates (minijinja) for each role, the chat template around them, and the
//! place where the signal goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::{Environment, UndefinedBehavior, Value};

use super::SessionError;
use super::method::PromptTemplates;
use super::style::{Example, PERSONA, PromptStyle, own_examples};
use crate::model::template::{ChatTemplate, Message};
use crate::model::tokenizer::Tokenizer;
use crate::task::{PromptKind, Task};

/// The user message for a chat model.
pub const CODER: &str = r#"{% if kind == "code" -%}
Complete the following Python function.

```python
{{ prompt }}
```
{%- elif kind == "snippet" -%}
Write the code that belongs at the end of this text, where the solution begins. Only that code: what stands before it runs before it.

{{ prompt }}
{%- else -%}
Write a Python program for the following problem.
{%- if kind == "script" %} It reads standard input and prints its answer.{% endif %}

{{ prompt }}
{%- if tests and kind == "script" %}

{{ tests | join("\n") }}
{%- elif tests %}

It must pass these tests:

```python
{{ tests | join("\n") }}
```
{%- endif %}
{%- endif %}"#;

/// The user message of the conditional stream: the same, then the signal, so that both streams share everything
/// before it in the cache. The closing sentence keeps small models from continuing the traces.
pub const CONDITIONAL: &str =
    "{{ coder }}\n\n{{ signal }}\n\nNow answer with the finished program only, in one Python code block.";

/// The prompt of the conditional stream for a base model: the signal as comments before the program.
const CONDITIONAL_BASE: &str = "{% for line in signal_lines %}# {{ line }}\n{% endfor %}{{ coder }}";

/// The message of the conditional stream in a named style: the signal stands directly before the answer.
const CONDITIONAL_STYLED: &str = "{{ coder }}\n\n{{ signal }}";

/// Where an instruction begins and where its answer does, in a named style without a chat template.
const INSTRUCTION: &str = "### Instruction:\n";
const RESPONSE: &str = "\n\n### Response:\n";

/// What an answer begins with, so that the next thing the model writes is the program.
pub const ANSWER_PREFIX: &str = "```python\n";

/// Names that a `coder` template may use.
pub const CODER_NAMES: [&str; 5] = ["prompt", "kind", "entry_point", "tests", "examples"];
/// Names that only a `conditional` template may use, besides those of a `coder` template.
pub const CONDITIONAL_NAMES: [&str; 3] = ["coder", "signal", "signal_lines"];

/// Builds the prompts of one model.
pub struct Prompts {
    tokenizer: Arc<Tokenizer>,
    /// `None`: raw text, which a base model continues.
    chat: Option<ChatTemplate>,
    templates: PromptTemplates,
}

/// The texts of a style.
struct Texts<'a> {
    system: Option<&'a str>,
    coder: &'a str,
    conditional: &'a str,
    answer_prefix: &'a str,
}

/// A prompt as the model gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// The text, special tokens written out.
    pub text: String,
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// The beginning of the program that the prompt ends with: base models continue the task's own code, and a snippet
    /// may stand in a function ([`Task::opening`]).
    pub program: String,
}

impl Prompts {
    /// Takes the templates that are given and our own for the others. `chat` is the model's template, if it has one.
    pub fn new(tokenizer: Arc<Tokenizer>, chat: Option<ChatTemplate>, templates: &PromptTemplates) -> Self {
        let chat = chat.filter(|_| templates.layout.is_chat());
        let mut templates = templates.clone();
        if templates.examples.is_empty() {
            templates.examples = own_examples();
        }
        Self { tokenizer, chat, templates }
    }

    /// Whether the program stands in a code fence, whose end ends it.
    pub fn is_fenced(&self, style: PromptStyle) -> bool {
        self.chat.is_some() || !style.is_default()
    }

    /// The prompt of the plain stream.
    ///
    /// # Errors
    /// A template does not compile, or asks for a name that there is not.
    pub fn plain(&self, task: &Task, style: PromptStyle) -> Result<Prompt, SessionError> {
        let message = render("coder", self.texts(style).coder, &self.values(task, style))?;
        self.wrap(task, style, message)
    }

    /// The prompt of the conditional stream.
    ///
    /// # Errors
    /// As [`Prompts::plain`].
    pub fn conditional(&self, task: &Task, style: PromptStyle, signal: &str) -> Result<Prompt, SessionError> {
        let texts = self.texts(style);
        let mut values = self.values(task, style);
        let coder = render("coder", texts.coder, &values)?;
        let lines: Vec<String> = signal.lines().map(str::to_owned).collect();
        values.insert("coder", coder.into());
        values.insert("signal", signal.trim_end().into());
        values.insert("signal_lines", lines.into());
        self.wrap(task, style, render("conditional", texts.conditional, &values)?)
    }

    fn texts(&self, style: PromptStyle) -> Texts<'_> {
        let chat = self.chat.is_some();
        match style.message() {
            Some(coder) => Texts {
                system: Some(PERSONA),
                coder,
                conditional: CONDITIONAL_STYLED,
                answer_prefix: ANSWER_PREFIX,
            },
            None => {
                let PromptTemplates { system, coder, conditional, answer_prefix, .. } = &self.templates;
                let own_conditional = if chat { CONDITIONAL } else { CONDITIONAL_BASE };
                Texts {
                    system: system.as_deref(),
                    coder: coder.as_deref().unwrap_or(if chat { CODER } else { "{{ prompt }}" }),
                    conditional: conditional.as_deref().unwrap_or(own_conditional),
                    answer_prefix: answer_prefix.as_deref().unwrap_or(if chat { ANSWER_PREFIX } else { "" }),
                }
            }
        }
    }

    /// What [`CODER_NAMES`] stand for.
    fn values(&self, task: &Task, style: PromptStyle) -> BTreeMap<&'static str, Value> {
        let mut tests = task.guiding_tests.iter().chain(&task.held_out_tests);
        let kind = match task.prompt_kind {
            PromptKind::Code => "code",
            PromptKind::Text if tests.any(|test| test.script.is_some()) => "script",
            PromptKind::Text => "text",
            PromptKind::Snippet => "snippet",
        };
        // A message ends where its text does; a base model that goes on needs the prompt to the last space.
        let whole = self.chat.is_none() && style.is_default();
        let prompt = if whole { &task.prompt } else { task.prompt.trim_end() };
        let tests: Vec<String> = task.guiding_tests.iter().map(|t| t.source.clone()).collect();
        let others = |example: &&Example| example.task_id.as_ref() != Some(&task.id);
        let examples: Vec<Value> = self.templates.examples.iter().filter(others).map(as_value).collect();
        BTreeMap::from([
            ("prompt", prompt.into()),
            ("kind", kind.into()),
            ("entry_point", Value::from(task.entry_point.clone())),
            ("tests", tests.into()),
            ("examples", examples.into()),
        ])
    }

    fn wrap(&self, task: &Task, style: PromptStyle, message: String) -> Result<Prompt, SessionError> {
        let Texts { system, answer_prefix, .. } = self.texts(style);
        let mut program = task.opening();
        let text = match &self.chat {
            Some(chat) => {
                let mut messages = Vec::new();
                messages.extend(system.map(|s| Message::new("system", s)));
                messages.push(Message::new("user", message));
                chat.render(&messages, true).map_err(|e| SessionError::Prompt(e.to_string()))?
            }
            None if !style.is_default() => {
                let system = system.map_or_else(String::new, |s| format!("{s}\n"));
                format!("{system}{INSTRUCTION}{message}{RESPONSE}")
            }
            None => {
                if task.prompt_kind == PromptKind::Code {
                    program.clone_from(&task.prompt);
                }
                // It ends with the program's beginning.
                return self.prompt(message + answer_prefix, program);
            }
        };
        self.prompt(text + answer_prefix + &program, program)
    }

    fn prompt(&self, text: String, program: String) -> Result<Prompt, SessionError> {
        let tokens = self.tokenizer.encode_prompt(&text).map_err(|e| SessionError::Prompt(e.to_string()))?;
        Ok(Prompt { text, tokens, program })
    }
}

/// An example as templates see it.
fn as_value(example: &Example) -> Value {
    let Example { task_id: _, prompt, tests, code } = example.clone();
    Value::from_pairs([("prompt", prompt.into()), ("tests", tests.into()), ("code", Value::from(code))])
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment
}

fn render(
    name: &str,
    template: &str,
    values: &BTreeMap<&'static str, Value>,
) -> Result<String, SessionError> {
    environment()
        .render_named_str(name, template, values)
        .map_err(|e| SessionError::Prompt(format!("the `{name}` template: {e:#}")))
}

/// Checks a template without rendering it: that it compiles, and that it asks for `known` names only.
///
/// # Errors
/// What is wrong, and which names there are.
pub fn check_template(template: &str, known: &[&str]) -> Result<(), String> {
    let environment = environment();
    let compiled =
        environment.template_from_str(template).map_err(|e| format!("it is no template: {e:#}"))?;
    let globals: Vec<&str> = environment.globals().map(|(name, _)| name).collect();
    let mut unknown: Vec<String> = compiled.undeclared_variables(false).into_iter().collect();
    unknown.retain(|name| !known.contains(&name.as_str()) && !globals.contains(&name.as_str()));
    unknown.sort();
    match unknown.first() {
        None => Ok(()),
        Some(name) => Err(format!("there is no `{name}`; the names are: {}", known.join(", "))),
    }
}

/// The code of a task's prompt that stands before the function asked for: imports and helpers, which models
/// rarely repeat. It runs before the program; what the program defines itself wins.
pub fn preamble(task: &Task) -> String {
    let (PromptKind::Code, Some(entry)) = (task.prompt_kind, &task.entry_point) else { return String::new() };
    let mut before = String::new();
    for line in task.prompt.split_inclusive('\n') {
        let definition = line.strip_prefix("async ").unwrap_or(line).strip_prefix("def ");
        if definition
            .is_some_and(|d| d.strip_prefix(entry.as_str()).is_some_and(|r| r.trim_start().starts_with('(')))
        {
            return before;
        }
        before.push_str(line);
    }
    String::new()
}
