//! Weights that nobody trained, in the shape of a real model: to measure speed where the real ones cannot be had, and to
//! test. Never to be read as a result about a model.

use std::collections::HashMap;

use candle_core::quantized::GgmlDType;
use half::bf16;

use super::ModelError;
use super::config::{Architecture, ModelConfig};
use super::cpu::packed::MatrixView;
use super::weights::{Part, Role, WeightSource};

/// A tensor: rows, columns, and where it begins.
struct Tensor {
    rows: usize,
    cols: usize,
    /// Byte of the pool; `None` for a norm, which is all ones.
    begin: Option<usize>,
}

/// Random bf16 weights. All tensors are parts of one pool of random numbers, each another one: so a model of many GiB
/// costs no more than its largest tensor.
pub struct RandomWeights {
    tensors: HashMap<String, Tensor>,
    pool: Vec<u8>,
    ones: Vec<u8>,
}

/// Numbers of the pool that tensors may begin at.
const BEGINNINGS: usize = 1 << 16;

fn bytes_of(values: impl Iterator<Item = f32>) -> Vec<u8> {
    values.flat_map(|v| bf16::from_f32(v).to_le_bytes()).collect()
}

impl RandomWeights {
    /// Weights for a configuration, the same for the same seed.
    pub fn new(config: &ModelConfig, seed: u64) -> Self {
        let (hidden, ff, s) = (config.hidden, config.feed_forward, config.shape);
        let (q_dim, kv_dim) = (s.heads * s.head_dim, s.kv_heads * s.head_dim);
        let mut state = seed;
        let mut next = move || {
            // SplitMix64.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        let (mut tensors, mut longest) = (HashMap::new(), 0);
        let mut add = |role, layer, part, rows: usize, cols: usize| {
            let begin = match role {
                Role::AttentionNorm | Role::FeedForwardNorm | Role::OutputNorm => None,
                _ => Some(2 * (next() as usize % BEGINNINGS)),
            };
            longest = longest.max(rows * cols);
            tensors.insert(name(role, layer, part), Tensor { rows, cols, begin });
        };
        add(Role::Embedding, 0, Part::Weight, config.vocab, hidden);
        add(Role::OutputNorm, 0, Part::Weight, 1, hidden);
        if !config.tied {
            add(Role::Output, 0, Part::Weight, config.vocab, hidden);
        }
        for layer in 0..config.layers {
            for (role, rows, cols) in [
                (Role::AttentionNorm, 1, hidden),
                (Role::FeedForwardNorm, 1, hidden),
                (Role::Q, q_dim, hidden),
                (Role::K, kv_dim, hidden),
                (Role::V, kv_dim, hidden),
                (Role::O, hidden, q_dim),
                (Role::Gate, ff, hidden),
                (Role::Up, ff, hidden),
                (Role::Down, hidden, ff),
            ] {
                add(role, layer, Part::Weight, rows, cols);
                let biased = matches!(role, Role::Q | Role::K | Role::V);
                if biased && config.architecture == Architecture::Qwen2 {
                    add(role, layer, Part::Bias, 1, rows);
                }
            }
        }
        // So large that a product keeps the size of its input.
        let most = (3.0 / hidden as f32).sqrt();
        let uniform = || (next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
        let pool = bytes_of(std::iter::repeat_with(uniform).take(longest + BEGINNINGS).map(|u| u * most));
        Self { tensors, pool, ones: bytes_of(std::iter::repeat_n(1.0, hidden)) }
    }
}

fn name(role: Role, layer: usize, part: Part) -> String {
    format!("{role:?}.{layer}.{part:?}")
}

impl WeightSource for RandomWeights {
    fn name(&self, role: Role, layer: usize, part: Part) -> String {
        name(role, layer, part)
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    fn matrix(&self, name: &str) -> Result<MatrixView<'_>, ModelError> {
        let Some(&Tensor { rows, cols, begin }) = self.tensors.get(name) else {
            return Err(ModelError::MissingTensor { tensor: name.into(), path: "random weights".into() });
        };
        let bytes = match begin {
            Some(begin) => &self.pool[begin..][..2 * rows * cols],
            None => &self.ones[..2 * cols],
        };
        Ok(MatrixView { dtype: GgmlDType::BF16, rows, cols, bytes })
    }
}
