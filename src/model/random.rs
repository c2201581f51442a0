//! Weights that nobody trained, in the shape of a real model: to measure speed where the real ones cannot be had, and to
//! test. Never to be read as a result about a model.

use std::collections::HashMap;

use candle_core::quantized::QTensor;
use candle_core::{Device, Tensor};
use half::bf16;

use super::ModelError;
use super::config::ModelConfig;
use super::cpu::packed::MatrixView;
use super::families::{self, Scheme, place};
use super::quant::WeightType;
use super::tokenizer::{Tokenizer, TokenizerError};
use super::weights::{Part, WeightSource};

/// What the name of a model begins with to mean random weights in the shape that follows.
pub const PREFIX: &str = "random:";

/// The shapes that have a name, as their `config.json` says them; the last is no real one's.
pub const SHAPES: [(&str, &str); 5] = [
    (
        "deepseek-coder-1.3b",
        r#"{"model_type":"llama","hidden_size":2048,"num_hidden_layers":24,"num_attention_heads":16,
        "num_key_value_heads":16,"intermediate_size":5504,"vocab_size":32256,"max_position_embeddings":16384,
        "rms_norm_eps":1e-6,"rope_theta":100000,"rope_scaling":{"type":"linear","factor":4.0}}"#,
    ),
    (
        "deepseek-coder-6.7b",
        r#"{"model_type":"llama","hidden_size":4096,"num_hidden_layers":32,"num_attention_heads":32,
        "num_key_value_heads":32,"intermediate_size":11008,"vocab_size":32256,"max_position_embeddings":16384,
        "rms_norm_eps":1e-6,"rope_theta":100000,"rope_scaling":{"type":"linear","factor":4.0}}"#,
    ),
    (
        "qwen2.5-coder-0.5b",
        r#"{"model_type":"qwen2","hidden_size":896,"num_hidden_layers":24,"num_attention_heads":14,
        "num_key_value_heads":2,"intermediate_size":4864,"vocab_size":151936,"max_position_embeddings":32768,
        "rms_norm_eps":1e-6,"rope_theta":1000000,"tie_word_embeddings":true}"#,
    ),
    (
        "qwen2.5-coder-7b",
        r#"{"model_type":"qwen2","hidden_size":3584,"num_hidden_layers":28,"num_attention_heads":28,
        "num_key_value_heads":4,"intermediate_size":18944,"vocab_size":152064,"max_position_embeddings":32768,
        "rms_norm_eps":1e-6,"rope_theta":1000000}"#,
    ),
    (
        "tiny",
        r#"{"model_type":"qwen2","hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4,
        "num_key_value_heads":2,"intermediate_size":128,"vocab_size":256,"max_position_embeddings":4096,
        "rms_norm_eps":1e-6,"rope_theta":10000,"tie_word_embeddings":true}"#,
    ),
];

/// The hyperparameters of a shape.
pub fn shape(name: &str) -> Result<ModelConfig, ModelError> {
    match SHAPES.iter().find(|(known, _)| *known == name) {
        Some((_, json)) => families::from_json(json),
        None => {
            let names: Vec<&str> = SHAPES.iter().map(|(name, _)| *name).collect();
            let names = names.join(", ");
            Err(ModelError::Config(format!(
                "there is no shape {name:?} for random weights; there are {names}"
            )))
        }
    }
}

/// A `tokenizer.json` whose tokens are the bytes: random weights have no use for more.
pub fn byte_tokenizer() -> String {
    // Bytes that are printable stand for themselves, the others for characters from 256 on (GPT-2's table).
    let printable = |b: u32| (33..=126).contains(&b) || (161..=172).contains(&b) || (174..=255).contains(&b);
    let mut other = 256;
    let mut vocabulary = serde_json::Map::new();
    for byte in 0..256 {
        let code = if printable(byte) {
            byte
        } else {
            other += 1;
            other - 1
        };
        let character = char::from_u32(code).expect("below 512");
        vocabulary.insert(character.to_string(), byte.into());
    }
    let level = serde_json::json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false });
    serde_json::json!({
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": level,
        "decoder": level,
        "model": { "type": "BPE", "vocab": vocabulary, "merges": [] },
    })
    .to_string()
}

/// The tokenizer of random weights.
pub fn tokenizer() -> Result<Tokenizer, TokenizerError> {
    Tokenizer::from_json(&byte_tokenizer(), "the bytes")
}

/// The element types of random weights in this shape.
pub fn dtypes(config: &ModelConfig) -> Vec<(String, usize)> {
    vec![("BF16".to_owned(), families::tensors(config).len())]
}

/// A tensor: rows, columns, and where it begins.
struct Entry {
    rows: usize,
    cols: usize,
    /// Byte of the pool; `None` for a norm, which is all ones.
    begin: Option<usize>,
}

/// Random bf16 weights. All tensors are parts of one pool of random numbers, each another one: so a model of many GiB
/// costs no more than its largest tensor.
pub struct RandomWeights {
    tensors: HashMap<String, Entry>,
    pool: Vec<u8>,
    ones: Vec<u8>,
}

/// Different numbers: a prime, so that rows of a tensor do not repeat.
const NUMBERS: usize = 4_194_301;
/// Numbers of the pool that tensors may begin at.
const BEGINNINGS: usize = 1 << 16;

fn bytes_of(values: impl Iterator<Item = f32>) -> Vec<u8> {
    values.flat_map(|v| bf16::from_f32(v).to_le_bytes()).collect()
}

impl RandomWeights {
    /// Weights for a configuration, the same for the same seed.
    pub fn new(config: &ModelConfig, seed: u64) -> Self {
        let hidden = config.hidden;
        let mut state = seed;
        let mut next = move || {
            // SplitMix64.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        let (mut tensors, mut longest) = (HashMap::new(), 0);
        for families::Tensor { role, layer, part, rows, cols } in families::tensors(config) {
            let is_norm = rows == 1 && part == Part::Weight;
            let begin = (!is_norm).then(|| 2 * (next() as usize % BEGINNINGS));
            longest = longest.max(rows * cols);
            let name = place(Scheme::Roles, config, role, layer, part).tensor;
            tensors.insert(name, Entry { rows, cols, begin });
        }
        let norms = tensors.values().filter(|entry: &&Entry| entry.begin.is_none());
        let longest_norm = norms.map(|entry| entry.cols).max().unwrap_or(0);
        // So large that a product keeps the size of its input.
        let most = (3.0 / hidden as f32).sqrt();
        let uniform = || (next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
        let numbers = bytes_of(std::iter::repeat_with(uniform).take(NUMBERS).map(|u| u * most));
        let mut pool = numbers.repeat((longest + BEGINNINGS).div_ceil(NUMBERS));
        pool.truncate(2 * (longest + BEGINNINGS));
        Self { tensors, pool, ones: bytes_of(std::iter::repeat_n(1.0, longest_norm)) }
    }
}

/// Random weights in one of the formats of GGUF files.
pub struct QuantisedWeights {
    inner: RandomWeights,
    dtype: WeightType,
    tensors: HashMap<String, Vec<u8>>,
}

impl QuantisedWeights {
    /// Quantises the matrices of other weights.
    ///
    /// # Errors
    /// Their rows are no whole blocks of the format.
    pub fn new(inner: RandomWeights, dtype: WeightType) -> Result<Self, ModelError> {
        let candles = dtype.candle();
        let candles = candles.ok_or_else(|| ModelError::Unsupported(format!("quantising to {dtype:?}")))?;
        let mut tensors = HashMap::new();
        for (name, tensor) in inner.tensors.iter().filter(|(_, tensor)| tensor.rows > 1) {
            let view = inner.matrix(name)?;
            let mut values = vec![0.0; tensor.rows * tensor.cols];
            for (row, out) in values.chunks_mut(tensor.cols).enumerate() {
                view.row_f32(row, out);
                // Another size for each row, so that every scale matters.
                out.iter_mut().for_each(|v| *v *= 0.6 + 0.8 * (row % 17) as f32 / 17.0);
            }
            let failed = |error: candle_core::Error| ModelError::Unsupported(error.to_string());
            let values =
                Tensor::from_vec(values, (tensor.rows, tensor.cols), &Device::Cpu).map_err(failed)?;
            let quantised = QTensor::quantize(&values, candles).and_then(|q| Ok(q.data()?.into_owned()));
            tensors.insert(name.clone(), quantised.map_err(failed)?);
        }
        Ok(Self { inner, dtype, tensors })
    }
}

impl WeightSource for QuantisedWeights {
    fn scheme(&self) -> Scheme {
        Scheme::Roles
    }

    fn has(&self, name: &str) -> bool {
        self.inner.has(name)
    }

    fn matrix(&self, name: &str) -> Result<MatrixView<'_>, ModelError> {
        let view = self.inner.matrix(name)?;
        Ok(match self.tensors.get(name) {
            Some(bytes) => MatrixView { dtype: self.dtype, bytes, ..view },
            None => view,
        })
    }
}

impl WeightSource for RandomWeights {
    fn scheme(&self) -> Scheme {
        Scheme::Roles
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    fn matrix(&self, name: &str) -> Result<MatrixView<'_>, ModelError> {
        let Some(&Entry { rows, cols, begin }) = self.tensors.get(name) else {
            return Err(ModelError::MissingTensor { tensor: name.into(), path: "random weights".into() });
        };
        let bytes = match begin {
            Some(begin) => &self.pool[begin..][..2 * rows * cols],
            None => &self.ones[..2 * cols],
        };
        Ok(MatrixView::new(WeightType::BF16, rows, cols, bytes))
    }
}
