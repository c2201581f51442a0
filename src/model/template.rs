//! Chat templates: the Jinja program, kept beside a model's weights, that writes a conversation as the model was
//! trained to read it.
//!
//! They are written for Python's Jinja2 with `trim_blocks` and `lstrip_blocks`, so Python's spellings count here:
//! `True`, `None`, `", "` between JSON items, string methods. A template comes from whoever packed the model, so
//! its work is bounded.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use serde::Serialize;
use thiserror::Error as ThisError;

/// Bound on the instructions that one rendering may take.
const FUEL: u64 = 5_000_000;

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A turn.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// Failure to compile or to render a chat template.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum TemplateError {
    /// The template is no valid Jinja, or uses something that is not supported.
    #[error("the model's chat template cannot be used: {0}")]
    Invalid(String),
    /// The template refuses this conversation by its own words.
    #[error("the model's chat template refuses the conversation: {0}")]
    Refused(String),
    /// Rendering failed.
    #[error("the model's chat template failed: {0}")]
    Failed(String),
}

/// A compiled chat template.
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

/// Marks an error as the template's own `raise_exception`.
const REFUSAL: &str = "raise_exception: ";

impl ChatTemplate {
    /// Compiles a template. `bos` and `eos` are the texts of the tokenizer's begin and end tokens, empty where it
    /// has none; templates write them as `bos_token` and `eos_token`.
    ///
    /// # Errors
    /// [`TemplateError::Invalid`] with the line.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| TemplateError::Invalid(sentence(&error)))?);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_formatter(|out, state, value| match python_word(value) {
            Some(word) => out.write_str(word).map_err(Error::from),
            None => minijinja::escape_formatter(out, state, value),
        });
        environment.add_filter("tojson", tojson);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, format!("{REFUSAL}{message}")))
        });
        environment.add_function("strftime_now", |_format: String| -> Result<Value, Error> {
            let why = "it writes today's date into the prompt, so that no result could be reproduced; \
                       give a template without strftime_now";
            Err(Error::new(ErrorKind::InvalidOperation, why))
        });
        let compiled = environment.add_template_owned("chat", source.to_owned());
        compiled.map_err(|error| TemplateError::Invalid(sentence(&error)))?;
        Ok(Self { environment, bos: bos.to_owned(), eos: eos.to_owned() })
    }

    /// Writes a conversation. With `add_generation_prompt`, the text ends where the assistant's next turn begins.
    ///
    /// # Errors
    /// [`TemplateError::Refused`] when the template itself objects (an unknown role, turns in the wrong order),
    /// [`TemplateError::Failed`] for any other failure.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, TemplateError> {
        let failed = |error: Error| match refusal(&error) {
            Some(words) => TemplateError::Refused(words),
            None => TemplateError::Failed(sentence(&error)),
        };
        let template = self.environment.get_template("chat").map_err(failed)?;
        let variables = context! {
            messages => messages.iter().map(turn).collect::<Vec<Value>>(),
            add_generation_prompt => add_generation_prompt,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
        };
        template.render(variables).map_err(failed)
    }
}

fn turn(message: &Message) -> Value {
    Value::from_pairs([("role", message.role.as_str()), ("content", message.content.as_str())])
}

/// How Python prints what Jinja's values are called otherwise here.
fn python_word(value: &Value) -> Option<&'static str> {
    if value.is_none() {
        return Some("None");
    }
    match value.kind() {
        minijinja::value::ValueKind::Bool => Some(if value.is_true() { "True" } else { "False" }),
        _ => None,
    }
}

/// Python's `json.dumps(value, ensure_ascii=False)`, which is what templates were written against: no HTML escapes,
/// and a space after `,` and `:`.
fn tojson(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // `ensure_ascii`, `sort_keys`, `separators` are accepted and have no effect on what templates print.
    for name in ["ensure_ascii", "sort_keys", "separators"] {
        let _: Option<Value> = options.get(name)?;
    }
    options.assert_all_used()?;
    let failed = |e: serde_json::Error| Error::new(ErrorKind::BadSerialization, e.to_string());
    let mut text = Vec::new();
    match indent {
        None => {
            let mut serializer = serde_json::Serializer::with_formatter(&mut text, Spaced);
            value.serialize(&mut serializer).map_err(failed)?;
        }
        Some(width) => {
            let spaces = " ".repeat(width.min(16));
            let pretty = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
            let mut serializer = serde_json::Serializer::with_formatter(&mut text, pretty);
            value.serialize(&mut serializer).map_err(failed)?;
        }
    }
    let text = String::from_utf8(text).map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string()))?;
    Ok(Value::from_safe_string(text))
}

/// JSON on one line with Python's spaces.
struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: std::io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: std::io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: std::io::Write + ?Sized>(&mut self, out: &mut W) -> std::io::Result<()> {
        out.write_all(b": ")
    }
}

fn refusal(error: &Error) -> Option<String> {
    error.detail()?.strip_prefix(REFUSAL).map(str::to_owned)
}

fn sentence(error: &Error) -> String {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) => format!("{detail} (line {line})"),
        None => detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, messages: &[Message]) -> Result<String, TemplateError> {
        ChatTemplate::new(source, "<s>", "</s>")?.render(messages, true)
    }

    #[test]
    fn python_is_spoken() {
        let one = [Message::new("user", "  a<b  ")];
        for (source, wanted) in [
            ("{{ bos_token }}{{ messages[0].content.strip() }}{{ eos_token }}", "<s>a<b</s>"),
            ("{{ messages[0]['content'] | trim | upper }}", "A<B"),
            ("{{ messages | tojson }}", r#"[{"role": "user", "content": "  a<b  "}]"#),
            ("{{ {'a': [1, true, none]} | tojson }}", r#"{"a": [1, true, null]}"#),
            ("{{ {'a': 1} | tojson(indent=2) }}", "{\n  \"a\": 1\n}"),
            ("{{ true }} {{ none }} {{ undefined_thing }}", "True None "),
            (
                "{% set ns = namespace(n=0) %}{% for i in [1,2] %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
                "3",
            ),
            ("{% for i in [1,2,3] %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "1"),
            ("  {% if true %}\nx\n  {% endif %}\ny", "x\ny"),
            ("{{ messages[::-1] | length }}{{ messages[0].role in ['user'] }}", "1True"),
            ("{{ 'x' if tools is not defined else 'y' }}{{ messages[0].tool_calls is defined }}", "xFalse"),
        ] {
            assert_eq!(render(source, &one).as_deref(), Ok(wanted), "{source}");
        }
    }

    #[test]
    fn errors_say_whose_they_are() {
        let refused = render("{{ raise_exception('roles must alternate') }}", &[]);
        assert_eq!(refused, Err(TemplateError::Refused("roles must alternate".into())));
        assert!(matches!(render("{% if %}", &[]), Err(TemplateError::Invalid(_))));
        let dated = render("{{ strftime_now('%Y') }}", &[]).unwrap_err();
        assert!(dated.to_string().contains("reproduced"), "{dated}");
        assert!(matches!(
            render("{{ messages[0].content.strip(1, 2) }}", &[]),
            Err(TemplateError::Failed(_))
        ));
    }

    #[test]
    fn a_hostile_template_ends() {
        let nested = "{% for a in range(9999) %}".repeat(4) + "x" + &"{% endfor %}".repeat(4);
        assert!(matches!(render(&nested, &[]), Err(TemplateError::Failed(_))));
    }
}
