//! The configuration of a run: one TOML file, checked completely before anything is computed.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use thiserror::Error;
use toml::Spanned;

use super::grid::{self, Block, Cell};
use crate::session::method::{Limits, PromptTemplates};

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file, or a file that it names, cannot be read.
    #[error("cannot read {path}: {source}{for_key}", for_key = key.as_ref().map(|k| format!(" (named by the key `{k}`)")).unwrap_or_default())]
    Read {
        /// The file.
        path: PathBuf,
        /// The key of the configuration that names it, when it is not the configuration itself.
        key: Option<String>,
        /// What the system says.
        source: std::io::Error,
    },
    /// The text is not TOML, has an unknown key, lacks one, or has a value of the wrong kind.
    #[error("{path}: {message}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// Line, key and what is allowed.
        message: String,
    },
    /// A value that TOML allows and this program does not.
    #[error("{path}:{line}: {message}")]
    Value {
        /// The file.
        path: PathBuf,
        /// Line in it, from 1.
        line: usize,
        /// Key, what is wrong, and what is allowed.
        message: String,
    },
}

/// An experiment: everything that its numbers depend on, and where they go.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunConfig {
    /// `[run]`
    pub run: RunSection,
    /// `[model]`
    pub model: ModelSection,
    /// `[dataset]`
    pub dataset: DatasetSection,
    /// `[sandbox]`
    pub sandbox: SandboxSection,
    /// `[prompts]`, files already read.
    pub prompts: PromptTemplates,
    /// The `[[method]]` blocks, expanded.
    cells: Vec<Cell>,
}

/// `[run]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSection {
    /// The run's name: letters, digits, `.`, `_`, `-`.
    #[serde(deserialize_with = "plain_name")]
    pub name: String,
    /// Seed of all randomness. Default 0.
    #[serde(default)]
    pub seed: u64,
    /// The folder of the run, relative to the working directory. Default `runs/<name>`.
    #[serde(default)]
    pub out: Option<PathBuf>,
    /// Sessions at once. Changes the speed, never the results. Default 1.
    #[serde(default = "one", deserialize_with = "at_least_one")]
    pub concurrency: usize,
    /// Most lines a session commits. Default 100.
    #[serde(default = "default_lines", deserialize_with = "at_least_one")]
    pub max_lines: usize,
    /// Most tokens of a committed program. Default 400.
    #[serde(default = "default_tokens", deserialize_with = "at_least_one")]
    pub max_tokens: usize,
    /// Most seconds of a session. Sessions that it ends are not reproducible. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_positive")]
    pub max_seconds: Option<f64>,
}

/// `[model]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSection {
    /// Name of a known model, or path of a model file.
    pub name: String,
}

/// `[dataset]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetSection {
    /// Name of a known dataset, for example `humaneval`.
    pub name: String,
    /// Its file or folder, where it is not the known one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The adapter that reads it, where the name does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
    /// Only these tasks, in the dataset's order. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<String>,
    /// Skip this many of the selected tasks.
    #[serde(default)]
    pub offset: usize,
    /// Then take at most this many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// `[sandbox]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SandboxSection {
    /// What to do when a capability of the sandbox is missing. Default `strict`.
    pub policy: SandboxPolicy,
    /// Wall time of one test in seconds. Default 5.
    #[serde(deserialize_with = "positive")]
    pub wall_seconds: f64,
    /// Memory of one program in MiB. Default 512.
    #[serde(deserialize_with = "at_least_one_u64")]
    pub memory_mb: u64,
    /// Workers. Changes the speed, never the results. Default: one a core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<usize>,
    /// MiB of a folder in which a program may write files. Default: it can write nowhere.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_at_least_one")]
    pub scratch_mb: Option<u64>,
    /// Modules to import ahead of time, which also makes the interpreter's packages importable. Default: none, and
    /// only the standard library.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preload: Vec<String>,
}

impl Default for SandboxSection {
    fn default() -> Self {
        Self {
            policy: SandboxPolicy::Strict,
            wall_seconds: 5.0,
            memory_mb: 512,
            workers: None,
            scratch_mb: None,
            preload: Vec::new(),
        }
    }
}

/// What to do when the system cannot give a capability that the sandbox needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxPolicy {
    /// Refuse to run programs.
    Strict,
    /// Run them with what there is, and say in the manifest what is missing.
    BestEffort,
    /// Run them with limits on time and memory only. A flag of the command must say so, too.
    Off,
}

/// A configuration as written, before prompts are read and the grid is expanded.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    run: RunSection,
    model: ModelSection,
    dataset: DatasetSection,
    #[serde(default)]
    sandbox: SandboxSection,
    #[serde(default)]
    prompts: WrittenPrompts,
    #[serde(default)]
    method: Vec<Spanned<Block>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct WrittenPrompts {
    system: Option<TextOrFile>,
    coder: Option<TextOrFile>,
    conditional: Option<TextOrFile>,
    answer_prefix: Option<TextOrFile>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text, or { file = \"path\" }")]
enum TextOrFile {
    Text(String),
    File(FileName),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileName {
    file: PathBuf,
}

impl RunConfig {
    /// Reads an experiment. Prompt files are sought beside it.
    ///
    /// # Errors
    /// [`ConfigError`], which names the file, the line, the key and what is allowed.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            key: None,
            source,
        })?;
        Self::parse(&text, path)
    }

    /// Reads an experiment from its text; `path` is for messages and to find prompt files beside it.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let written: Written = toml::from_str(text).map_err(|error| ConfigError::Toml {
            path: path.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        })?;
        let value_error = |start: usize, message: String| ConfigError::Value {
            path: path.to_owned(),
            line: 1 + text.as_bytes()[..start.min(text.len())].iter().filter(|b| **b == b'\n').count(),
            message,
        };
        if written.method.is_empty() {
            let message = "there is no [[method]] block, so there is nothing to run; add one, for example\n\
                           [[method]]\nmethod = \"greedy\"";
            return Err(value_error(text.len(), message.to_owned()));
        }
        let cells =
            grid::expand(&written.method).map_err(|fault| value_error(fault.span.start, fault.message))?;
        let read = |key: &str, value: Option<TextOrFile>| read_prompt(path, key, value);
        Ok(Self {
            run: written.run,
            model: written.model,
            dataset: written.dataset,
            sandbox: written.sandbox,
            prompts: PromptTemplates {
                system: read("prompts.system", written.prompts.system)?,
                coder: read("prompts.coder", written.prompts.coder)?,
                conditional: read("prompts.conditional", written.prompts.conditional)?,
                answer_prefix: read("prompts.answer_prefix", written.prompts.answer_prefix)?,
            },
            cells,
        })
    }

    /// The cells of the grid: method blocks in file order; within a block the parameters alphabetically,
    /// the last one varying fastest. Names hold only what varies within the run.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The folder of the run.
    pub fn out_dir(&self) -> PathBuf {
        self.run.out.clone().unwrap_or_else(|| Path::new("runs").join(&self.run.name))
    }

    /// What each session may spend.
    pub fn limits(&self) -> Limits {
        Limits {
            max_lines: self.run.max_lines,
            max_tokens: self.run.max_tokens,
            max_seconds: self.run.max_seconds,
        }
    }

    /// The part of the configuration that the results depend on. Left out: where they go, how many sessions
    /// run at once, how many sandbox workers there are.
    pub fn decisive(&self) -> Value {
        let mut value =
            serde_json::to_value(self).expect("a configuration is made of plain values with text keys");
        for (section, key) in [("run", "out"), ("run", "concurrency"), ("sandbox", "workers")] {
            if let Some(section) = value.get_mut(section).and_then(Value::as_object_mut) {
                section.shift_remove(key);
            }
        }
        value
    }
}

fn read_prompt(config: &Path, key: &str, value: Option<TextOrFile>) -> Result<Option<String>, ConfigError> {
    match value {
        None => Ok(None),
        Some(TextOrFile::Text(text)) => Ok(Some(text)),
        Some(TextOrFile::File(FileName { file })) => {
            let path = config.parent().unwrap_or(Path::new("")).join(file);
            std::fs::read_to_string(&path).map(Some).map_err(|source| ConfigError::Read {
                path,
                key: Some(key.to_owned()),
                source,
            })
        }
    }
}

fn one() -> usize {
    1
}

fn default_lines() -> usize {
    Limits::default().max_lines
}

fn default_tokens() -> usize {
    Limits::default().max_tokens
}

fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    match usize::deserialize(deserializer)? {
        0 => Err(serde::de::Error::custom("0 is not allowed here, expected at least 1")),
        number => Ok(number),
    }
}

fn at_least_one_u64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    at_least_one(deserializer).map(|number| number as u64)
}

fn some_at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    at_least_one_u64(deserializer).map(Some)
}

fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    if number > 0.0 && number.is_finite() {
        Ok(number)
    } else {
        Err(serde::de::Error::custom(format!("{number} is not allowed here, expected a number above 0")))
    }
}

fn some_positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    positive(deserializer).map(Some)
}

fn plain_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.is_empty() && !name.starts_with('.') && name.chars().all(plain) {
        Ok(name)
    } else {
        Err(serde::de::Error::custom(format!(
            "{name:?} is not allowed here, expected letters, digits, `.`, `_` and `-`, not beginning with a `.`"
        )))
    }
}
