//! What a decoder must know about a model: sizes, norms, rotary embedding. Read from GGUF metadata or from a
//! Hugging Face `config.json`.

use serde::Deserialize;

use super::ModelError;
use super::cpu::attention::HeadShape;
use super::cpu::ops::RopePairs;

/// The families of decoders that share our blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Llama and what is built like it (DeepSeek-Coder, CodeLlama, SmolLM2).
    Llama,
    /// Qwen2 and Qwen2.5: Llama with biases on q, k and v.
    Qwen2,
}

impl Architecture {
    /// The family by the name that files give it.
    pub fn from_name(name: &str) -> Result<Self, ModelError> {
        match name {
            "llama" => Ok(Self::Llama),
            "qwen2" => Ok(Self::Qwen2),
            other => Err(ModelError::Unsupported(format!(
                "architecture `{other}`; this version runs `llama` and `qwen2`"
            ))),
        }
    }

    /// The name that files give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
        }
    }
}

/// How rotary frequencies are changed for longer contexts.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Unchanged.
    None,
    /// Positions divided by a factor (DeepSeek-Coder: 4).
    Linear(f32),
    /// Llama 3.1: low frequencies divided by `factor`, high ones kept, a ramp between.
    Llama3 {
        /// Division of the low frequencies.
        factor: f32,
        /// Wavelengths above `original_context / low_freq_factor` are divided.
        low_freq_factor: f32,
        /// Wavelengths below `original_context / high_freq_factor` are kept.
        high_freq_factor: f32,
        /// Context length before scaling.
        original_context: f32,
    },
    /// One divisor a frequency (GGUF's tensor `rope_freqs.weight`).
    Factors(Vec<f32>),
}

/// A decoder's hyperparameters.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Family.
    pub architecture: Architecture,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Transformer blocks.
    pub layers: usize,
    /// Attention heads.
    pub shape: HeadShape,
    /// Width inside the feed-forward block.
    pub feed_forward: usize,
    /// Size of the vocabulary, padding included.
    pub vocab: usize,
    /// Positions the model was made for.
    pub context: usize,
    /// Added to the mean square in RMS norms.
    pub rms_eps: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f32,
    /// Their scaling.
    pub rope_scaling: RopeScaling,
    /// Which elements turn together.
    pub rope_pairs: RopePairs,
    /// The output projection is the embedding table.
    pub tied: bool,
}

impl ModelConfig {
    /// Bytes of keys and values a position takes (f32).
    pub fn kv_bytes_per_token(&self) -> usize {
        2 * 4 * self.layers * self.shape.kv_heads * self.shape.head_dim
    }

    /// Refuses sizes that cannot be a model's, before anything is allocated for them.
    pub fn check(&self) -> Result<(), ModelError> {
        let s = self.shape;
        let sizes = [
            ("hidden size", self.hidden),
            ("number of layers", self.layers),
            ("number of heads", s.heads),
            ("number of key-value heads", s.kv_heads),
            ("head size", s.head_dim),
            ("feed-forward size", self.feed_forward),
            ("vocabulary size", self.vocab),
        ];
        for (name, size) in sizes {
            if size == 0 || size > 1 << 24 {
                return Err(ModelError::Config(format!("{name} is {size}")));
            }
        }
        if !s.heads.is_multiple_of(s.kv_heads) {
            return Err(ModelError::Config(format!(
                "{} attention heads cannot share {} key-value heads",
                s.heads, s.kv_heads
            )));
        }
        if !s.head_dim.is_multiple_of(2) {
            return Err(ModelError::Config(format!(
                "head size {} is odd: rotary embedding needs pairs",
                s.head_dim
            )));
        }
        if !(self.rms_eps.is_finite() && self.rms_eps >= 0.0 && self.rope_theta > 0.0) {
            return Err(ModelError::Config("rms_norm_eps or rope_theta is not a sensible number".into()));
        }
        Ok(())
    }

    /// The inverse frequencies of the rotary embedding, scaling applied; `head_dim / 2` values.
    pub fn inverse_frequencies(&self) -> Vec<f32> {
        let dim = self.shape.head_dim;
        let plain = |i: usize| 1.0 / self.rope_theta.powf((2 * i) as f32 / dim as f32);
        (0..dim / 2)
            .map(|i| {
                let freq = plain(i);
                match &self.rope_scaling {
                    RopeScaling::None => freq,
                    RopeScaling::Linear(factor) => freq / factor,
                    RopeScaling::Factors(factors) => freq / factors.get(i).copied().unwrap_or(1.0),
                    RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                        let wavelength = std::f32::consts::TAU / freq;
                        if wavelength < original_context / high_freq_factor {
                            freq
                        } else if wavelength > original_context / low_freq_factor {
                            freq / factor
                        } else {
                            let smooth = (original_context / wavelength - low_freq_factor)
                                / (high_freq_factor - low_freq_factor);
                            (1.0 - smooth) * freq / factor + smooth * freq
                        }
                    }
                }
            })
            .collect()
    }

    /// Cosine and sine of the turn at a position by an inverse frequency. The angle is rounded to f32 as in the reference
    /// implementations; its sine is exact.
    pub fn turn(position: usize, inverse_frequency: f32) -> (f32, f32) {
        let angle = f64::from(position as f32 * inverse_frequency);
        (angle.cos() as f32, angle.sin() as f32)
    }

    /// Reads a Hugging Face `config.json`.
    pub fn from_hf_json(text: &str) -> Result<Self, ModelError> {
        let raw: HfConfig = serde_json::from_str(text).map_err(|e| ModelError::Config(e.to_string()))?;
        let head_dim = match raw.head_dim {
            Some(dim) => dim,
            None if raw.num_attention_heads > 0 => raw.hidden_size / raw.num_attention_heads,
            None => 0,
        };
        let config = Self {
            architecture: Architecture::from_name(&raw.model_type)?,
            hidden: raw.hidden_size,
            layers: raw.num_hidden_layers,
            shape: HeadShape {
                heads: raw.num_attention_heads,
                kv_heads: raw.num_key_value_heads.unwrap_or(raw.num_attention_heads),
                head_dim,
            },
            feed_forward: raw.intermediate_size,
            vocab: raw.vocab_size,
            context: raw.max_position_embeddings,
            rms_eps: raw.rms_norm_eps,
            rope_theta: raw
                .rope_theta
                .or(raw.rope_parameters.as_ref().and_then(|p| p.rope_theta))
                .unwrap_or(1e4),
            rope_scaling: match raw.rope_scaling.or(raw.rope_parameters) {
                Some(scaling) => scaling.read()?,
                None => RopeScaling::None,
            },
            rope_pairs: RopePairs::Halves,
            tied: raw.tie_word_embeddings,
        };
        if raw.use_sliding_window {
            return Err(ModelError::Unsupported("sliding-window attention (`use_sliding_window`)".into()));
        }
        config.check()?;
        Ok(config)
    }
}

#[derive(Deserialize)]
struct HfConfig {
    model_type: String,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: usize,
    vocab_size: usize,
    #[serde(default = "default_context")]
    max_position_embeddings: usize,
    #[serde(default = "default_eps")]
    rms_norm_eps: f32,
    rope_theta: Option<f32>,
    rope_scaling: Option<HfRope>,
    rope_parameters: Option<HfRope>,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    use_sliding_window: bool,
}

fn default_context() -> usize {
    2048
}

fn default_eps() -> f32 {
    1e-6
}

#[derive(Deserialize)]
struct HfRope {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f32>,
    factor: Option<f32>,
    low_freq_factor: Option<f32>,
    high_freq_factor: Option<f32>,
    original_max_position_embeddings: Option<f32>,
}

impl HfRope {
    fn read(&self) -> Result<RopeScaling, ModelError> {
        let need = |name: &str, value: Option<f32>| {
            value
                .filter(|v| v.is_finite() && *v > 0.0)
                .ok_or_else(|| ModelError::Config(format!("rope_scaling.{name} is missing or not positive")))
        };
        match self.rope_type.as_deref() {
            None | Some("default") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear(need("factor", self.factor)?)),
            Some("llama3") => Ok(RopeScaling::Llama3 {
                factor: need("factor", self.factor)?,
                low_freq_factor: need("low_freq_factor", self.low_freq_factor)?,
                high_freq_factor: need("high_freq_factor", self.high_freq_factor)?,
                original_context: need(
                    "original_max_position_embeddings",
                    self.original_max_position_embeddings,
                )?,
            }),
            Some(other) => Err(ModelError::Unsupported(format!(
                "RoPE scaling `{other}`; this version knows `linear` and `llama3`"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEEPSEEK: &str = r#"{"model_type":"llama","hidden_size":4096,"num_hidden_layers":32,
        "num_attention_heads":32,"num_key_value_heads":32,"intermediate_size":11008,"vocab_size":32256,
        "max_position_embeddings":16384,"rms_norm_eps":1e-06,"rope_theta":100000,
        "rope_scaling":{"factor":4.0,"type":"linear"},"tie_word_embeddings":false}"#;

    #[test]
    fn reads_deepseek_coder() {
        let config = ModelConfig::from_hf_json(DEEPSEEK).expect("valid");
        assert_eq!(config.rope_scaling, RopeScaling::Linear(4.0));
        assert_eq!(config.inverse_frequencies()[0], 0.25);
        assert_eq!(config.shape.head_dim, 128);
    }

    #[test]
    fn wrong_configs_are_refused_with_the_reason() {
        let refuse = |from: &str, to: &str| {
            let text = DEEPSEEK.replace(from, to);
            assert_ne!(text, DEEPSEEK);
            ModelConfig::from_hf_json(&text).expect_err("must be refused").to_string()
        };
        assert!(refuse("\"llama\"", "\"mamba\"").contains("mamba"));
        assert!(refuse("\"num_key_value_heads\":32", "\"num_key_value_heads\":5").contains("cannot share 5"));
        assert!(refuse("\"hidden_size\":4096,", "").contains("hidden_size"));
        assert!(refuse("\"type\":\"linear\"", "\"type\":\"longrope\"").contains("longrope"));
        assert!(refuse("\"num_attention_heads\":32", "\"num_attention_heads\":0").contains("heads is 0"));
        assert!(refuse("\"factor\":4.0,", "").contains("rope_scaling.factor"));
    }
}
