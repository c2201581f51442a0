//! The configuration of a run: one TOML file, checked completely before anything is computed.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use thiserror::Error;
use toml::Spanned;

use super::files::ResultRow;
use super::grid::{self, Block, Cell, RunWide};
use super::list::OneOrMore;
use crate::session::method::{Limits, PromptTemplates};
use crate::session::prompts::{CODER_NAMES, CONDITIONAL_NAMES, check_template};
use crate::session::style::{Example, Layout, PromptStyle};
use crate::task::Task;

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
    /// All models, where there are several: [`Self::each_model`].
    #[serde(skip)]
    models: Vec<String>,
}

/// `[run]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSection {
    /// The run's name: letters, digits, `.`, `_`, `-`.
    #[serde(deserialize_with = "plain_name")]
    pub name: String,
    /// Seed of all randomness, or several: then each is a setting of the grid. Default 0.
    #[serde(default = "zero")]
    pub seed: OneOrMore<u64>,
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
    /// Skip the later cells of a task as soon as one passes these tests. The cells of a task then run one after the
    /// other. Default: every cell visits every task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_when_solved: Option<Solved>,
    /// Most seconds of a session. Sessions that it ends are not reproducible. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_positive")]
    pub max_seconds: Option<f64>,
}

/// The tests that decide whether a task needs no further cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Solved {
    /// The guiding tests: what a user who has no others could go by.
    Guiding,
    /// The held-out tests, that is the score: what is run then depends on what is scored.
    HeldOut,
}

impl Solved {
    /// Whether a session passed these tests.
    pub fn by(self, row: &ResultRow) -> bool {
        match self {
            Self::Guiding => row.passed_guiding,
            Self::HeldOut => row.passed_held_out,
        }
    }
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
    /// Only this part of it, see [`crate::task::split`]. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
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

impl SandboxSection {
    /// What each program may use.
    pub fn limits(&self) -> crate::sandbox::Limits {
        crate::sandbox::Limits {
            wall_test_seconds: self.wall_seconds,
            memory_mb: self.memory_mb,
            ..crate::sandbox::Limits::default()
        }
    }
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
    model: Spanned<WrittenModel>,
    dataset: DatasetSection,
    #[serde(default)]
    sandbox: SandboxSection,
    #[serde(default)]
    prompts: WrittenPrompts,
    #[serde(default)]
    method: Vec<Spanned<Block>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenModel {
    name: OneOrMore<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct WrittenPrompts {
    style: Option<OneOrMore<PromptStyle>>,
    layout: Layout,
    system: Option<Spanned<TextOrFile>>,
    coder: Option<Spanned<TextOrFile>>,
    conditional: Option<Spanned<TextOrFile>>,
    answer_prefix: Option<Spanned<TextOrFile>>,
    examples: Vec<Example>,
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
        let styles = written.prompts.style.clone().unwrap_or(OneOrMore::one(PromptStyle::Default));
        let wide = RunWide { seeds: written.run.seed.all(), styles: styles.all() };
        let cells = grid::expand(&written.method, &wide)
            .map_err(|fault| value_error(fault.span.start, fault.message))?;
        let prompts = written.prompts.read(&cells, path, &value_error)?;

        let at = written.model.span().start;
        let models = written.model.into_inner().name;
        let folders: Vec<String> = models.all().iter().map(|name| folder_of(name)).collect();
        if let Some(twice) = (1..folders.len()).find(|&i| folders[..i].contains(&folders[i])) {
            let message = format!(
                "`model.name`: the run of {:?} would go into the same folder, {:?}, as that of a model before it; \
                 give it a file of its own",
                models.all()[twice],
                folders[twice]
            );
            return Err(value_error(at, message));
        }
        Ok(Self {
            run: written.run,
            model: ModelSection { name: models.first() },
            dataset: written.dataset,
            sandbox: written.sandbox,
            prompts,
            cells,
            models: models.all().to_vec(),
        })
    }

    /// One configuration for each model: itself, where there is one; else each with a folder of its own, named like the
    /// model, in that of this one.
    pub fn each_model(&self) -> Vec<Self> {
        if self.models.len() < 2 {
            return vec![self.clone()];
        }
        let of = |name: &String| {
            let mut config = self.clone();
            config.run.out = Some(self.out_dir().join(folder_of(name)));
            config.model.name = name.clone();
            config.models = vec![name.clone()];
            config
        };
        self.models.iter().map(of).collect()
    }

    /// The configuration with the solved examples that are customary for a dataset (all of its tasks are given), where a
    /// prompt shows any and the configuration gives none.
    pub fn with_examples_of(&self, tasks: &[Task]) -> Self {
        let mut config = self.clone();
        let texts = [&self.prompts.coder, &self.prompts.conditional];
        let asked = texts.into_iter().flatten().any(|template| template.contains("examples"));
        let shows = |cell: &Cell| cell.prompt.shows_examples() || (asked && cell.prompt.is_default());
        if config.prompts.examples.is_empty() && self.cells.iter().any(shows) {
            config.prompts.examples = Example::customary(tasks);
        }
        config
    }

    /// The cells of the grid: method blocks in file order; within a block its methods, for each the parameters
    /// alphabetically, the last one varying fastest. Names hold only what varies within the run.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// Seed of the sessions of a cell.
    pub fn seed_of(&self, cell: &Cell) -> u64 {
        cell.seed.unwrap_or(self.run.seed.first())
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

impl WrittenPrompts {
    /// Reads and checks the texts. Those of the style `default` are refused where no cell has that style.
    fn read(
        self,
        cells: &[Cell],
        path: &Path,
        fault: &dyn Fn(usize, String) -> ConfigError,
    ) -> Result<PromptTemplates, ConfigError> {
        let used = cells.iter().any(|cell| cell.prompt.is_default());
        let text = |key: &str, value: Option<Spanned<TextOrFile>>| {
            let Some(value) = value else { return Ok(None) };
            let at = value.span().start;
            if !used {
                let message = format!(
                    "`prompts.{key}` belongs to the style \"default\", which no cell uses; remove it, or add the style"
                );
                return Err(fault(at, message));
            }
            Ok(Some((value.into_inner().read(path, &format!("prompts.{key}"))?, at)))
        };
        let template = |key: &str, value: Option<Spanned<TextOrFile>>, names: &[&str]| {
            let Some((text, at)) = text(key, value)? else { return Ok(None) };
            match check_template(&text, names) {
                Ok(()) => Ok(Some(text)),
                Err(reason) => Err(fault(at, format!("the template `prompts.{key}`: {reason}"))),
            }
        };
        let conditional_names = [CODER_NAMES.as_slice(), &CONDITIONAL_NAMES].concat();
        Ok(PromptTemplates {
            system: text("system", self.system)?.map(|(text, _)| text),
            coder: template("coder", self.coder, &CODER_NAMES)?,
            conditional: template("conditional", self.conditional, &conditional_names)?,
            answer_prefix: text("answer_prefix", self.answer_prefix)?.map(|(text, _)| text),
            layout: self.layout,
            examples: self.examples,
        })
    }
}

impl TextOrFile {
    /// The text, or that of the file, which is sought beside the configuration.
    fn read(self, config: &Path, key: &str) -> Result<String, ConfigError> {
        match self {
            Self::Text(text) => Ok(text),
            Self::File(FileName { file }) => {
                let path = config.parent().unwrap_or(Path::new("")).join(file);
                std::fs::read_to_string(&path).map_err(|source| ConfigError::Read {
                    path,
                    key: Some(key.to_owned()),
                    source,
                })
            }
        }
    }
}

/// Name of a folder for the run of a model: the last part of its name or path.
fn folder_of(model: &str) -> String {
    let last = model.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = last.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    if name.starts_with('.') || name.is_empty() { format!("_{name}") } else { name }
}

fn zero() -> OneOrMore<u64> {
    OneOrMore::one(0)
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
