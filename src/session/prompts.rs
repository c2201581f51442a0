//! The texts given to the model: templates (minijinja) for each role, the chat template around them, and the
//! place where the signal goes.

use std::sync::Arc;

use minijinja::{Environment, UndefinedBehavior, context};

use super::SessionError;
use super::method::PromptTemplates;
use crate::model::template::{ChatTemplate, Message};
use crate::model::tokenizer::Tokenizer;
use crate::task::{PromptKind, Task};

/// The user message for a chat model.
pub const CODER: &str = r#"{% if kind == "code" -%}
Complete the following Python function.

```python
{{ prompt }}
```
{%- else -%}
Write a Python program for the following problem.

{{ prompt }}
{%- if tests %}

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

/// What a chat model's answer begins with, so that the next thing it writes is the program.
pub const ANSWER_PREFIX: &str = "```python\n";

/// Builds the prompts of one model.
pub struct Prompts {
    tokenizer: Arc<Tokenizer>,
    /// `None`: a base model, which continues raw text.
    chat: Option<ChatTemplate>,
    system: Option<String>,
    coder: String,
    conditional: String,
    answer_prefix: String,
}

/// A prompt as the model gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// The text, special tokens written out.
    pub text: String,
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// The beginning of the program that the prompt ends with (base models continue the task's own code).
    pub program: String,
}

impl Prompts {
    /// Takes the templates that are given and our own for the others.
    pub fn new(tokenizer: Arc<Tokenizer>, chat: Option<ChatTemplate>, templates: &PromptTemplates) -> Self {
        let own_conditional = if chat.is_some() { CONDITIONAL } else { CONDITIONAL_BASE };
        let own_coder = if chat.is_some() { CODER } else { "{{ prompt }}" };
        let or = |given: &Option<String>, own: &str| given.clone().unwrap_or_else(|| own.to_owned());
        Self {
            tokenizer,
            system: templates.system.clone(),
            coder: or(&templates.coder, own_coder),
            conditional: or(&templates.conditional, own_conditional),
            answer_prefix: or(&templates.answer_prefix, if chat.is_some() { ANSWER_PREFIX } else { "" }),
            chat,
        }
    }

    /// Whether the model gets its chat template.
    pub fn is_chat(&self) -> bool {
        self.chat.is_some()
    }

    /// The prompt of the plain stream.
    ///
    /// # Errors
    /// A template does not compile, or asks for a name that there is not.
    pub fn plain(&self, task: &Task) -> Result<Prompt, SessionError> {
        self.wrap(task, self.coder_message(task)?)
    }

    /// The prompt of the conditional stream.
    ///
    /// # Errors
    /// As [`Prompts::plain`].
    pub fn conditional(&self, task: &Task, signal: &str) -> Result<Prompt, SessionError> {
        let coder = self.coder_message(task)?;
        let lines: Vec<String> = signal.lines().map(str::to_owned).collect();
        let values = context! { coder, signal => signal.trim_end().to_owned(), signal_lines => lines };
        let message = render("conditional", &self.conditional, values)?;
        self.wrap(task, message)
    }

    fn coder_message(&self, task: &Task) -> Result<String, SessionError> {
        let tests: Vec<String> = task.guiding_tests.iter().map(|t| t.source.clone()).collect();
        let kind = if task.prompt_kind == PromptKind::Code { "code" } else { "text" };
        // A chat message ends where its text does; a base model needs the prompt to the last space.
        let prompt = if self.is_chat() { task.prompt.trim_end() } else { &task.prompt };
        let values = context! {
            prompt => prompt.to_owned(),
            entry_point => task.entry_point.clone(),
            kind,
            tests,
        };
        render("coder", &self.coder, values)
    }

    fn wrap(&self, task: &Task, message: String) -> Result<Prompt, SessionError> {
        let (text, program) = match &self.chat {
            Some(chat) => {
                let mut messages = Vec::new();
                messages.extend(self.system.as_ref().map(|s| Message::new("system", s)));
                messages.push(Message::new("user", message));
                let text = chat.render(&messages, true).map_err(|e| SessionError::Prompt(e.to_string()))?;
                (text, String::new())
            }
            None if task.prompt_kind == PromptKind::Code => (message, task.prompt.clone()),
            None => (message, String::new()),
        };
        let text = text + &self.answer_prefix;
        let tokens = self.tokenizer.encode_prompt(&text).map_err(|e| SessionError::Prompt(e.to_string()))?;
        Ok(Prompt { text, tokens, program })
    }
}

fn render(name: &str, template: &str, values: minijinja::Value) -> Result<String, SessionError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment
        .render_named_str(name, template, values)
        .map_err(|e| SessionError::Prompt(format!("the `{name}` template: {e:#}")))
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
