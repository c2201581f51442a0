//! The methods and their parameters: what an experiment varies and what a session is given.
//!
//! Plain data shared by the loop, which obeys it, and by the run, which expands it from a configuration.
//! Each method carries exactly the parameters that it uses, so a configuration cannot set one in vain.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::style::{Example, Layout};
use crate::engine::Guidance;
pub use crate::engine::Sampler;

/// One method with one setting of all its parameters. In JSON it is one flat object with the key `method`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
pub enum MethodConfig {
    /// Decode the program greedily. No candidates, no execution.
    Greedy,
    /// Sample whole programs and keep the one that passes most guiding tests (best of n).
    Sample(SampleConfig),
    /// Sample continuations, run them, and commit the first line of the best one.
    Vigor(VigorConfig),
    /// Sample continuations, run them, and decode each line under guidance from their execution traces.
    EgCfg(EgCfgConfig),
}

impl MethodConfig {
    /// The method's name as written in configurations, results and traces.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Greedy => "greedy",
            Self::Sample(_) => "sample",
            Self::Vigor(_) => "vigor",
            Self::EgCfg(_) => "eg-cfg",
        }
    }

    /// The method of this name with its default parameters; `None` when there is no such method.
    pub fn of_name(name: &str) -> Option<Self> {
        match name {
            "greedy" => Some(Self::Greedy),
            "sample" => Some(Self::Sample(SampleConfig::default())),
            "vigor" => Some(Self::Vigor(VigorConfig::default())),
            "eg-cfg" => Some(Self::EgCfg(EgCfgConfig::default())),
            _ => None,
        }
    }

    /// The names that [`Self::of_name`] knows.
    pub const NAMES: [&'static str; 4] = ["greedy", "sample", "vigor", "eg-cfg"];

    /// Checks the ranges that the fields' documentation gives.
    ///
    /// # Errors
    /// The key at fault and what its value must be.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if let Some(sampling) = self.sampling() {
            sampling.check()?;
        }
        match self {
            Self::Vigor(VigorConfig { horizon: 0, .. }) | Self::EgCfg(EgCfgConfig { horizon: 0, .. }) => {
                Err(("horizon", "at least 1 line"))
            }
            Self::EgCfg(EgCfgConfig { refresh_lines: 0, .. }) => Err(("refresh_lines", "at least 1 line")),
            Self::EgCfg(c) if !(c.gamma >= 0.0 && c.gamma.is_finite()) => {
                Err(("gamma", "a finite number, at least 0"))
            }
            Self::EgCfg(c) if !(0.0..1.0).contains(&c.epsilon) => Err(("epsilon", "from 0 up to below 1")),
            Self::EgCfg(c) if !(c.line_temperature >= 0.0 && c.line_temperature.is_finite()) => {
                Err(("line_temperature", "a finite number, at least 0"))
            }
            _ => Ok(()),
        }
    }

    /// All parameters by their names and `method` itself, also those that files leave out while they have their
    /// default.
    pub fn parameters(&self) -> Map<String, Value> {
        let Ok(Value::Object(mut parameters)) = serde_json::to_value(self) else {
            unreachable!("a method is a tagged struct of plain values")
        };
        if let Self::EgCfg(config) = self {
            parameters.insert("refresh_lines".to_owned(), config.refresh_lines.into());
        }
        parameters
    }

    /// The guidance strength γ, for methods that guide.
    pub fn gamma(&self) -> Option<f64> {
        match self {
            Self::EgCfg(config) => Some(config.gamma),
            _ => None,
        }
    }

    /// How the two streams are mixed, for methods that guide.
    pub fn guidance(&self) -> Option<Guidance> {
        match self {
            Self::EgCfg(config) => Some(config.guidance()),
            _ => None,
        }
    }

    /// How candidates are sampled, for methods that sample.
    pub fn sampling(&self) -> Option<&Sampling> {
        match self {
            Self::Greedy => None,
            Self::Sample(config) => Some(&config.sampling),
            Self::Vigor(config) => Some(&config.sampling),
            Self::EgCfg(config) => Some(&config.sampling),
        }
    }
}

/// How candidates are drawn from the plain stream.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Number of candidates N, at least 1.
    pub n: usize,
    /// The algorithm.
    pub sampler: Sampler,
    /// Softmax temperature; 0 is greedy.
    pub temperature: f64,
    /// Keep only the k most probable tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the smallest set of tokens whose probabilities reach this sum, in (0, 1]; 1 keeps all.
    pub top_p: f64,
}

impl Sampling {
    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if !(1..=MAX_CANDIDATES).contains(&self.n) {
            Err(("n", "from 1 to 1024 candidates"))
        } else if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            Err(("temperature", "a finite number, at least 0"))
        } else if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            Err(("top_p", "above 0 and at most 1"))
        } else {
            Ok(())
        }
    }
}

/// More candidates a step than this is taken for a slip of the keyboard.
const MAX_CANDIDATES: usize = 1024;

/// Parameters of `sample`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SampleConfig {
    /// How the programs are sampled.
    #[serde(flatten)]
    pub sampling: Sampling,
}

impl Default for SampleConfig {
    /// n = 5, T = 0.8, top-p 0.95.
    fn default() -> Self {
        Self {
            sampling: Sampling {
                n: 5,
                sampler: Sampler::Temperature,
                temperature: 0.8,
                top_k: 0,
                top_p: 0.95,
            },
        }
    }
}

/// Parameters of `vigor`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct VigorConfig {
    /// How the continuations are sampled.
    #[serde(flatten)]
    pub sampling: Sampling,
    /// A candidate is at most this many lines long, at least 1.
    pub horizon: usize,
}

impl Default for VigorConfig {
    /// n = 5, T = 0.8, top-p 0.95, horizon 3.
    fn default() -> Self {
        Self { sampling: SampleConfig::default().sampling, horizon: 3 }
    }
}

/// Parameters of `eg-cfg` (execution-guided classifier-free guidance).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EgCfgConfig {
    /// How the continuations are sampled.
    #[serde(flatten)]
    pub sampling: Sampling,
    /// A candidate is at most this many lines long, at least 1.
    pub horizon: usize,
    /// Guidance strength γ, at least 0: 0 is the plain model, 1 the conditional one, above 1 extrapolates.
    pub gamma: f64,
    /// Added to both probabilities in the ratio of the two streams, in [0, 1): what both find all but impossible
    /// stays so under extrapolation. 0 is the bare formula.
    pub epsilon: f64,
    /// Draw the tokens of the guided line at `line_temperature` instead of taking the most probable.
    pub sample_line: bool,
    /// Softmax temperature of the guided line; used only with `sample_line`.
    pub line_temperature: f64,
    /// Check the tokens of the candidates several at a time instead of decoding the guided line one by one. Fewer
    /// forward passes, the same line.
    #[serde(default = "yes")]
    pub speculate: bool,
    /// Lines after which the signal is made anew, at least 1 (the k of EG-CFG): in between, lines are guided by the
    /// last one. Files leave it out while it is 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub refresh_lines: usize,
    /// Bounds on the signal.
    #[serde(flatten)]
    pub signal: SignalCaps,
}

impl EgCfgConfig {
    /// How the two streams are mixed.
    pub fn guidance(&self) -> Guidance {
        Guidance { gamma: self.gamma as f32, epsilon: self.epsilon as f32 }
    }
}

impl Default for EgCfgConfig {
    /// n = 3, T = 0.75, top-p 0.95, horizon 3, γ = 1, ε = 1e-8, the line decoded greedily, a signal of 2000 characters.
    fn default() -> Self {
        Self {
            sampling: Sampling {
                n: 3,
                sampler: Sampler::Temperature,
                temperature: 0.75,
                top_k: 0,
                top_p: 0.95,
            },
            horizon: 3,
            gamma: 1.0,
            epsilon: 1e-8,
            sample_line: false,
            line_temperature: 0.75,
            speculate: true,
            refresh_lines: 1,
            signal: SignalCaps::default(),
        }
    }
}

/// What a trace or manifest means that was written before there was a choice.
fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}

fn is_one(number: &usize) -> bool {
    *number == 1
}

/// Bounds on the signal: what is beyond them is cut, and the trace says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalCaps {
    /// Characters of the whole signal.
    #[serde(rename = "signal_max_chars")]
    pub max_chars: usize,
    /// Events of one execution trace.
    #[serde(rename = "signal_max_events")]
    pub max_events: usize,
    /// Characters of one value.
    #[serde(rename = "signal_max_value")]
    pub max_value: usize,
}

impl Default for SignalCaps {
    /// 2000 characters in all, 24 events a trace, 60 characters a value.
    fn default() -> Self {
        Self { max_chars: 2000, max_events: 24, max_value: 60 }
    }
}

/// What a session may spend.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Lines committed.
    pub max_lines: usize,
    /// Tokens of the committed program.
    pub max_tokens: usize,
    /// Wall time in seconds. A session that it ends is not reproducible, so by default there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_seconds: Option<f64>,
}

impl Default for Limits {
    /// 100 lines, 400 tokens, no limit of time.
    fn default() -> Self {
        Self { max_lines: 100, max_tokens: 400, max_seconds: None }
    }
}

/// Texts of the prompt that replace the built-in ones of the default style, and what all styles share. Opaque
/// here; the session says what they may contain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptTemplates {
    /// The system message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The user message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coder: Option<String>,
    /// The user message of the conditional stream, with the place where the signal goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditional: Option<String>,
    /// What the model's answer is made to begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_prefix: Option<String>,
    /// What surrounds the text, in every style.
    #[serde(default, skip_serializing_if = "Layout::is_chat")]
    pub layout: Layout,
    /// Solved problems, for the styles and templates that show some. Empty: our own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
}
