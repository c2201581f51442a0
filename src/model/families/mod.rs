//! The families of models: what each has of the variations that our blocks know, and what its tensors are called.
//!
//! A family says only where it leaves the plainest one, Llama; [`read`] begins with that and lets the family change it.
//! The same few lines serve `config.json` and GGUF metadata (see [`hyper`]).

use serde_json::{Map, Value};

use super::ModelError;
use super::config::{
    Activation, Attention, Biases, FeedForward, ModelConfig, Norm, NormKind, Positions, Residual,
};
use super::cpu::attention::HeadShape;
use super::cpu::ops::RopePairs;
use super::gguf::Gguf;
use super::rope::Rope;
use hyper::{Hyper, Key};

mod bigcode;
mod deepseek;
mod gemma;
mod hyper;
mod llama;
mod names;
mod phi;
mod qwen;
mod scaling;
mod tensors;

pub use names::Scheme;
pub(super) use names::{Place, place};
pub use tensors::{Tensor, parameters, tensors, weights_of_a_row};

/// The families of decoders that share our blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Llama and what is built like it (DeepSeek-Coder, CodeLlama, SmolLM2).
    Llama,
    /// Mistral and Codestral: Llama with a sliding window.
    Mistral,
    /// Qwen2 and Qwen2.5: Llama with biases on q, k and v.
    Qwen2,
    /// Qwen3: Llama with norms of queries and keys.
    Qwen3,
    /// Qwen3 with experts.
    Qwen3Moe,
    /// StarCoder2: layer norms, biases everywhere, an ungated feed-forward net.
    Starcoder2,
    /// Gemma 2: norms before and behind, soft caps, every other layer local.
    Gemma2,
    /// Gemma 3: as Gemma 2, with norms of queries and keys in the place of the caps.
    Gemma3,
    /// Phi-3: Llama with fused projections and long-context factors.
    Phi3,
    /// DeepSeek-V2: latent attention and experts.
    Deepseek2,
    /// GPT-2 with one head of keys and values (StarCoder, SantaCoder).
    GptBigcode,
    /// CodeGen: attention and feed-forward side by side.
    Codegen,
}

/// A family's names in `config.json` and in GGUF files (empty: there are no such files), and what it changes.
struct Family {
    architecture: Architecture,
    hf: &'static [&'static str],
    gguf: &'static str,
    describe: fn(Hyper<'_>, &mut ModelConfig) -> Result<(), ModelError>,
}

const FAMILIES: [Family; 12] = [
    family(Architecture::Llama, &["llama"], "llama", llama::llama),
    family(Architecture::Mistral, &["mistral"], "", llama::mistral),
    family(Architecture::Qwen2, &["qwen2"], "qwen2", qwen::qwen2),
    family(Architecture::Qwen3, &["qwen3"], "qwen3", qwen::qwen3),
    family(Architecture::Qwen3Moe, &["qwen3_moe"], "qwen3moe", qwen::qwen3_moe),
    family(Architecture::Starcoder2, &["starcoder2"], "starcoder2", bigcode::starcoder2),
    family(Architecture::Gemma2, &["gemma2"], "gemma2", gemma::gemma2),
    family(Architecture::Gemma3, &["gemma3_text", "gemma3"], "gemma3", gemma::gemma3),
    family(Architecture::Phi3, &["phi3"], "phi3", phi::phi3),
    family(Architecture::Deepseek2, &["deepseek_v2"], "deepseek2", deepseek::deepseek2),
    family(Architecture::GptBigcode, &["gpt_bigcode"], "starcoder", bigcode::gpt_bigcode),
    family(Architecture::Codegen, &["codegen"], "", bigcode::codegen),
];

const fn family(
    architecture: Architecture,
    hf: &'static [&'static str],
    gguf: &'static str,
    describe: fn(Hyper<'_>, &mut ModelConfig) -> Result<(), ModelError>,
) -> Family {
    Family { architecture, hf, gguf, describe }
}

impl Architecture {
    /// The name that `config.json` gives it.
    pub fn name(self) -> &'static str {
        let family = FAMILIES.iter().find(|family| family.architecture == self);
        family.map_or("", |family| family.hf[0])
    }

    /// The names of all.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FAMILIES.iter().map(|family| family.hf[0])
    }
}

fn unknown(name: &str) -> ModelError {
    let known: Vec<&str> = Architecture::names().collect();
    ModelError::Unsupported(format!("architecture `{name}`; this version runs {}", known.join(", ")))
}

const HIDDEN: Key = Key(&["hidden_size", "n_embd"], "embedding_length");
const LAYERS: Key = Key(&["num_hidden_layers", "n_layer"], "block_count");
const HEADS: Key = Key(&["num_attention_heads", "n_head"], "attention.head_count");
const KV_HEADS: Key = Key(&["num_key_value_heads"], "attention.head_count_kv");
const HEAD_DIM: Key = Key(&["head_dim"], "attention.key_length");
const FEED_FORWARD: Key = Key(&["intermediate_size", "n_inner"], "feed_forward_length");
const CONTEXT: Key = Key(&["max_position_embeddings", "n_positions"], "context_length");
const RMS_EPS: Key = Key(&["rms_norm_eps"], "attention.layer_norm_rms_epsilon");
const LAYER_EPS: Key = Key(&["norm_epsilon", "layer_norm_epsilon"], "attention.layer_norm_epsilon");
const THETA: Key = Key(&["rope_theta"], "rope.freq_base");
const ACTIVATION: Key = Key(&["hidden_activation", "hidden_act", "activation_function"], "");
const TIED: Key = Key(&["tie_word_embeddings"], "");
const EXPERTS: Key = Key(&["num_experts", "n_routed_experts"], "expert_count");
const USED_EXPERTS: Key = Key(&["num_experts_per_tok"], "expert_used_count");
const EXPERT_WIDTH: Key = Key(&["moe_intermediate_size"], "expert_feed_forward_length");
const WINDOW: Key = Key(&["sliding_window"], "attention.sliding_window");

/// Reads a Hugging Face `config.json`.
pub fn from_json(text: &str) -> Result<ModelConfig, ModelError> {
    let root: Map<String, Value> =
        serde_json::from_str(text).map_err(|e| ModelError::Config(e.to_string()))?;
    let name = |map: &Map<String, Value>| map.get("model_type").and_then(Value::as_str).map(str::to_owned);
    // Models that also see keep what writes in an object of its own.
    let map = root.get("text_config").and_then(Value::as_object).unwrap_or(&root);
    let model_type = name(map).or_else(|| name(&root));
    let model_type = model_type.ok_or_else(|| ModelError::Config("model_type is missing".into()))?;
    let family = FAMILIES.iter().find(|family| family.hf.contains(&model_type.as_str()));
    let vocab = Hyper::Json(map).count(&Key(&["vocab_size"], ""))?;
    // Gemma 3's sizes that are its class's defaults are missing in the configurations of its larger models.
    let vocab = match (vocab, model_type.starts_with("gemma3")) {
        (Some(vocab), _) => vocab,
        (None, true) => 262_208,
        (None, false) => return Err(ModelError::Config("vocab_size is missing".into())),
    };
    let config = read(family.ok_or_else(|| unknown(&model_type))?, Hyper::Json(map), vocab)?;
    config.check()?;
    Ok(config)
}

/// The rows and columns that share a scale in weights of 8-bit floats, by a `config.json`.
///
/// # Errors
/// The weights are quantised in a way that is not read.
pub(super) fn scale_block(text: &str) -> Result<[usize; 2], ModelError> {
    let root: Value = serde_json::from_str(text).map_err(|e| ModelError::Config(e.to_string()))?;
    let config = &root["quantization_config"];
    match config["quant_method"].as_str() {
        None if config.is_null() => Ok([128, 128]),
        Some("fp8") => {
            let size =
                |i: usize| config["weight_block_size"][i].as_u64().filter(|n| (1..=1 << 20).contains(n));
            match (size(0), size(1)) {
                (Some(rows), Some(cols)) => Ok([rows as usize, cols as usize]),
                _ => Err(ModelError::Unsupported(
                    "8-bit floats without weight_block_size: blocks of weights with a scale each are read"
                        .into(),
                )),
            }
        }
        method => Err(ModelError::Unsupported(format!(
            "weights quantised by `{}`: use the model's GGUF file, or its original weights with --quantize",
            method.unwrap_or("an unnamed method")
        ))),
    }
}

/// Reads the metadata of a GGUF file whose vocabulary has `vocab` tokens.
pub(super) fn from_gguf(gguf: &Gguf, arch: &str, vocab: usize) -> Result<ModelConfig, ModelError> {
    let family = FAMILIES.iter().find(|family| !family.gguf.is_empty() && family.gguf == arch);
    let config = read(family.ok_or_else(|| unknown(arch))?, Hyper::Gguf(gguf, arch), vocab)?;
    config.check()?;
    Ok(config)
}

fn read(family: &Family, keys: Hyper<'_>, vocab: usize) -> Result<ModelConfig, ModelError> {
    let hidden = keys.need_count(&HIDDEN)?;
    let layers = keys.need_count(&LAYERS)?;
    // Before anything is made of their number.
    if layers > 4096 {
        return Err(ModelError::Config(format!("number of layers is {layers}")));
    }
    let heads = match keys.count(&HEADS)? {
        Some(heads) => heads,
        None => gemma::default_heads(family.architecture)
            .ok_or_else(|| ModelError::Config("num_attention_heads is missing".into()))?,
    };
    let head_dim = keys.count(&HEAD_DIM)?.unwrap_or(hidden.checked_div(heads).unwrap_or(0));
    let kv_heads = keys.count(&KV_HEADS)?.unwrap_or(heads);
    let pairs = if keys.is_gguf() && family.architecture == Architecture::Llama {
        RopePairs::Interleaved
    } else {
        RopePairs::Halves
    };
    let theta = theta(keys, &THETA, scaling::GLOBAL)?.unwrap_or(1e4);
    let mut config = ModelConfig {
        architecture: family.architecture,
        hidden,
        layers,
        vocab,
        context: keys.count(&CONTEXT)?.unwrap_or(2048),
        tied: match keys {
            Hyper::Gguf(gguf, _) => !gguf.has_output(),
            Hyper::Json(_) => keys.flag(&TIED)?.unwrap_or(false),
        },
        embedding_scale: 1.0,
        logit_cap: None,
        norm: Norm {
            kind: NormKind::Rms,
            eps: keys.number(&RMS_EPS)?.or(keys.number(&LAYER_EPS)?).unwrap_or(1e-6) as f32,
            offset: 0.0,
        },
        residual: Residual::Sequential,
        attention: Attention {
            shape: HeadShape { heads, kv_heads, head_dim, value_dim: head_dim },
            scale: 1.0 / (head_dim as f32).sqrt(),
            cap: None,
            head_norms: false,
            window: None,
            local: vec![false; layers],
            positions: Positions::Rotary { global: Rope::whole(theta, head_dim, pairs), local: None },
            latent: None,
        },
        feed_forward: FeedForward {
            width: keys.count(&FEED_FORWARD)?.unwrap_or(4 * hidden),
            gated: true,
            activation: keys.text(&ACTIVATION).map_or(Ok(Activation::Silu), Activation::from_name)?,
            experts: None,
        },
        biases: Biases::default(),
    };
    if let Positions::Rotary { global, .. } = &mut config.attention.positions {
        global.scaling = scaling::read(keys, config.context)?;
    }
    (family.describe)(keys, &mut config)?;
    Ok(config)
}

/// The base of the frequencies of layers of a kind.
fn theta(keys: Hyper<'_>, key: &Key, kind: &'static str) -> Result<Option<f32>, ModelError> {
    let within = || scaling::described(keys, kind).map_or(Ok(None), |within| within.number(&THETA));
    Ok(keys.number(key)?.map_or_else(within, |theta| Ok(Some(theta)))?.map(|theta| theta as f32))
}

/// Changes the rotary embedding of all layers, or of those that are not local.
fn turn(config: &mut ModelConfig, change: impl FnOnce(&mut Rope)) {
    if let Positions::Rotary { global, .. } = &mut config.attention.positions {
        change(global);
    }
}

/// Which layers are local: by the list `layer_types`, or else by a rule.
fn local_layers(
    keys: Hyper<'_>,
    config: &mut ModelConfig,
    rule: impl Fn(usize) -> bool,
) -> Result<(), ModelError> {
    config.attention.local = match keys.list("layer_types") {
        None => (0..config.layers).map(rule).collect(),
        Some(types) => types
            .iter()
            .map(|kind| match kind.as_str() {
                Some("sliding_attention") => Ok(true),
                Some("full_attention") => Ok(false),
                _ => Err(ModelError::Unsupported(format!("layers of type {kind}"))),
            })
            .collect::<Result<_, _>>()?,
    };
    if config.attention.local.len() != config.layers {
        return Err(ModelError::Config(format!(
            "layer_types has {} entries for {} layers",
            config.attention.local.len(),
            config.layers
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::rope::RopeScaling;
    use super::*;

    const DEEPSEEK: &str = r#"{"model_type":"llama","hidden_size":4096,"num_hidden_layers":32,
        "num_attention_heads":32,"num_key_value_heads":32,"intermediate_size":11008,"vocab_size":32256,
        "max_position_embeddings":16384,"rms_norm_eps":1e-06,"rope_theta":100000,
        "rope_scaling":{"factor":4.0,"type":"linear"},"tie_word_embeddings":false}"#;

    #[test]
    fn reads_deepseek_coder() {
        let config = from_json(DEEPSEEK).expect("valid");
        let rope = config.rope().expect("one rotary embedding");
        assert_eq!(rope.scaling, RopeScaling::Linear(4.0));
        assert_eq!(rope.inverse_frequencies(config.context)[0], 0.25);
        assert_eq!(config.attention.shape.head_dim, 128);
        assert_eq!(config.peculiarity(), None);
    }

    /// As transformers writes it since version 5.
    #[test]
    fn rotary_parameters_are_found_where_newer_files_have_them() {
        let newer = DEEPSEEK.replace("\"rope_theta\":100000,", "").replace(
            "\"rope_scaling\":{\"factor\":4.0,\"type\":\"linear\"}",
            "\"rope_parameters\":{\"rope_theta\":100000,\"factor\":4.0,\"rope_type\":\"linear\"}",
        );
        assert_eq!(from_json(&newer).expect("valid"), from_json(DEEPSEEK).expect("valid"));
        let gemma = |rope: &str| {
            let text = format!(
                r#"{{"model_type":"gemma3_text","hidden_size":640,"num_hidden_layers":6,"num_attention_heads":4,
                "num_key_value_heads":1,"head_dim":256,"intermediate_size":2048,"vocab_size":262144,
                "sliding_window":512,{rope}}}"#
            );
            from_json(&text).expect("valid")
        };
        let older = r#""rope_theta":5e5,"rope_local_base_freq":2e4,"rope_scaling":{"rope_type":"linear","factor":8.0}"#;
        let newer = r#""rope_parameters":{"full_attention":{"rope_theta":5e5,"rope_type":"linear","factor":8.0},
            "sliding_attention":{"rope_theta":2e4,"rope_type":"default"}}"#;
        assert_eq!(gemma(newer), gemma(older));
        assert_eq!(gemma(newer).rope_of(0).map(|rope| rope.theta), Some(2e4));
    }

    #[test]
    fn wrong_configs_are_refused_with_the_reason() {
        let refuse = |from: &str, to: &str| {
            let text = DEEPSEEK.replace(from, to);
            assert_ne!(text, DEEPSEEK);
            from_json(&text).expect_err("must be refused").to_string()
        };
        assert!(refuse("\"llama\"", "\"mamba\"").contains("mamba"));
        assert!(refuse("\"num_key_value_heads\":32", "\"num_key_value_heads\":5").contains("cannot share 5"));
        assert!(refuse("\"hidden_size\":4096,", "").contains("hidden_size"));
        assert!(refuse("\"hidden_size\":4096", "\"hidden_size\":40.96").contains("hidden_size is 40.96"));
        assert!(refuse("\"hidden_size\":4096", "\"hidden_size\":\"4096\"").contains("hidden_size"));
        assert!(refuse("\"type\":\"linear\"", "\"type\":\"ntk\"").contains("ntk"));
        assert!(refuse("\"num_attention_heads\":32", "\"num_attention_heads\":0").contains("heads is 0"));
        assert!(refuse("\"factor\":4.0,", "").contains("rope_scaling.factor"));
        assert!(
            refuse("\"num_hidden_layers\":32", "\"num_hidden_layers\":1e15").contains("num_hidden_layers")
        );
        assert!(refuse("\"rms_norm_eps\":1e-06", "\"rms_norm_eps\":-1").contains("epsilon"));
    }
}
