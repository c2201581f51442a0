//! Models: files on disk → log-probabilities, and tokens chosen from them.
//!
//! One decoder ([`decoder::Decoder`]) runs every architecture that our blocks can describe, from GGUF or
//! safetensors. The engine sees it only through [`LanguageModel`]: spans of tokens in, handles to rows of
//! log-probabilities out, tokens chosen from those, keys and values in numbered pages. A decoder on another device is
//! another implementation of that trait; no row has to leave its memory.

use std::path::Path;

use quant::WeightType;
use sampling::{Logprobs, Selected, Selection, select_on_host};
use tokenizer::{Tokenizer, TokenizerError};
use weights::FileBytes;

pub mod check;
pub mod config;
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod decoder;
pub mod describe;
pub mod device;
pub mod families;
pub mod gguf;
pub mod quant;
pub mod random;
pub mod rope;
pub mod safetensors;
pub mod sampling;
pub mod self_check;
pub mod template;
pub mod tokenizer;
pub mod weights;

pub use config::ModelConfig;
pub use decoder::Decoder;

/// What can be wrong with a model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file cannot be read or is not what its name says.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor that the architecture needs is not there.
    #[error("{path}: tensor `{tensor}` is missing: the file is incomplete or of another architecture")]
    MissingTensor {
        /// Its name.
        tensor: String,
        /// Where it was looked for.
        path: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error("tensor `{tensor}` has shape {found:?}, the configuration asks for {expected:?}")]
    Shape {
        /// Its name.
        tensor: String,
        /// In the file.
        found: Vec<usize>,
        /// By the configuration.
        expected: Vec<usize>,
    },
    /// The configuration is wrong.
    #[error("wrong model configuration: {0}")]
    Config(String),
    /// Valid, but not something this version can run.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// A device cannot be used, or failed.
    #[error("the GPU cannot be used: {0}; --device cpu computes without one")]
    Device(String),
    /// A device has not enough memory.
    #[error(
        "out of device memory when {0}; use a smaller or quantised model or fewer sessions and candidates, leave more of the device free, name more with --devices, or use --device cpu"
    )]
    DeviceMemory(String),
}

/// Which rows of a span are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogitRows {
    /// None: the span only fills the KV cache.
    None,
    /// The last one: what comes next.
    Last,
    /// All: the span is scored.
    All,
}

/// A run of new tokens of one sequence in a batch.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// The tokens.
    pub tokens: &'a [u32],
    /// Position of the first one, which is the number of positions already in the pages.
    pub start: usize,
    /// The pages of the sequence; they hold `start` positions and have room for the new ones.
    pub pages: &'a [u32],
    /// Which rows are wanted.
    pub logits: LogitRows,
}

/// What the engine needs of a model.
pub trait LanguageModel: Send {
    /// Size of the vocabulary: the length of a row.
    fn vocab(&self) -> usize;
    /// The longest sequence that the model can hold.
    fn context(&self) -> usize;
    /// Positions in a page of keys and values.
    fn page_len(&self) -> usize;
    /// Number of pages.
    fn pages(&self) -> usize;
    /// Copies a page (for a fork that shares only a part of it).
    fn copy_page(&mut self, from: u32, to: u32) -> Result<(), ModelError>;
    /// One forward pass over several sequences at once. Returns the log-probabilities of the wanted rows, span by span.
    /// No row depends on what else is in the batch, but for an earlier part of its own sequence: a span may go on where
    /// the span before it ends. After an error the pages hold what they held before, but for the positions of the spans.
    fn forward(&mut self, spans: &[Span<'_>]) -> Result<Vec<Logprobs>, ModelError>;
    /// A copy of a row that [`forward`](Self::forward) returned.
    fn read(&mut self, row: &Logprobs) -> Result<Vec<f32>, ModelError> {
        let elsewhere = || ModelError::Device("a row is on a device, and this model is not".into());
        row.host().map(<[f32]>::to_vec).ok_or_else(elsewhere)
    }
    /// Chooses tokens from rows that [`forward`](Self::forward) returned. The selections of a chain are made one after
    /// the other, and those after a token that was not expected are left out.
    fn select(&mut self, chains: &[Vec<Selection>]) -> Result<Vec<Vec<Selected>>, ModelError> {
        Ok(select_on_host(chains))
    }
}

/// Where a model's weights, configuration and vocabulary come from.
pub enum ModelFiles {
    /// One GGUF file that holds everything.
    Gguf(Box<gguf::Gguf>),
    /// A folder in Hugging Face's layout.
    Safetensors(Box<safetensors::SafetensorsDir>, ModelConfig),
    /// Weights that nobody trained, to measure speed.
    Random(Box<random::RandomWeights>, ModelConfig),
}

impl ModelFiles {
    /// Opens a `.gguf` file or a folder with `config.json` and safetensors.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        if path.is_dir() {
            let config = safetensors::SafetensorsDir::config(path)?;
            Ok(Self::Safetensors(Box::new(safetensors::SafetensorsDir::open(path)?), config))
        } else {
            Ok(Self::Gguf(Box::new(gguf::Gguf::open(path)?)))
        }
    }

    /// A GGUF file that is in memory already.
    pub fn from_gguf_bytes(bytes: Vec<u8>) -> Result<Self, ModelError> {
        Ok(Self::Gguf(Box::new(gguf::Gguf::from_bytes(FileBytes::Memory(bytes), "these bytes".into())?)))
    }

    /// A `config.json` and a safetensors file that are in memory already.
    pub fn from_safetensors_bytes(config: &str, bytes: Vec<u8>) -> Result<Self, ModelError> {
        let files = safetensors::SafetensorsDir::from_bytes(FileBytes::Memory(bytes), config)?;
        Ok(Self::Safetensors(Box::new(files), families::from_json(config)?))
    }

    /// Opens what a user named: random weights by the name, anything else by the path that was found for it.
    pub fn named(name: &str, path: &Path) -> Result<Self, ModelError> {
        match name.strip_prefix(random::PREFIX) {
            Some(shape) => Self::random(shape),
            None => Self::open(path),
        }
    }

    /// Random weights in the shape of a real model, by one of the names of [`random::SHAPES`].
    pub fn random(shape: &str) -> Result<Self, ModelError> {
        let config = random::shape(shape)?;
        Ok(Self::Random(Box::new(random::RandomWeights::new(&config, 1)), config))
    }

    /// The hyperparameters.
    ///
    /// # Errors
    /// A GGUF file does not say what is needed, or describes a model that this version cannot run.
    pub fn config(&self) -> Result<ModelConfig, ModelError> {
        match self {
            Self::Gguf(gguf) => gguf.config(),
            Self::Safetensors(_, config) | Self::Random(_, config) => Ok(config.clone()),
        }
    }

    /// The tokenizer, from wherever the files keep it. `path` is where they are.
    ///
    /// # Errors
    /// See [`Tokenizer::open`].
    pub fn tokenizer(&self, path: &Path) -> Result<Tokenizer, TokenizerError> {
        match self {
            Self::Gguf(gguf) => Tokenizer::from_gguf_metadata(gguf.metadata()),
            Self::Safetensors(..) => Tokenizer::from_folder(path),
            Self::Random(..) => random::tokenizer(),
        }
    }

    /// The element types with how many tensors use each; most used first.
    pub fn dtypes(&self) -> Vec<(String, usize)> {
        match self {
            Self::Gguf(gguf) => gguf.dtypes(),
            Self::Safetensors(dir, _) => dir.dtypes(),
            Self::Random(_, config) => random::dtypes(config),
        }
    }

    /// The element types, most used first: `Q5_0×133 …`.
    pub fn quantization(&self) -> String {
        if matches!(self, Self::Random(..)) {
            return "random BF16".into();
        }
        self.dtypes().iter().map(|(name, n)| format!("{name}×{n}")).collect::<Vec<_>>().join(" ")
    }

    /// Packs the weights for this machine. `kv_bytes` bounds the memory for keys and values.
    pub fn load(self, kv_bytes: usize) -> Result<Decoder, ModelError> {
        self.load_quantised(kv_bytes, None)
    }

    /// The same, with dense matrices quantised.
    pub fn load_quantised(self, kv_bytes: usize, to: Option<WeightType>) -> Result<Decoder, ModelError> {
        let config = self.config()?;
        match self {
            Self::Gguf(gguf) => Decoder::load_quantised(gguf, config, kv_bytes, to),
            Self::Safetensors(dir, _) => Decoder::load_quantised(dir, config, kv_bytes, to),
            Self::Random(weights, _) => Decoder::load_quantised(weights, config, kv_bytes, to),
        }
    }
}
