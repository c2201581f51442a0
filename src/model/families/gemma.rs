//! Gemma 2 and 3: norms before and behind each half, scaled embeddings, local layers.

use super::hyper::{Hyper, Key};
use super::{CONTEXT, HEAD_DIM, KV_HEADS, THETA, WINDOW, local_layers, scaling, theta, turn};
use crate::model::ModelError;
use crate::model::config::{Activation, ModelConfig, Positions, Residual};
use crate::model::families::Architecture;
use crate::model::rope::{Rope, RopeScaling};

const HEAD_SCALE: Key = Key(&["query_pre_attn_scalar"], "");
const SCORE_CAP: Key = Key(&["attn_logit_softcapping"], "attn_logit_softcapping");
const LOGIT_CAP: Key = Key(&["final_logit_softcapping"], "final_logit_softcapping");
const PATTERN: Key = Key(&["sliding_window_pattern", "_sliding_window_pattern"], "");
const LOCAL_THETA: Key = Key(&["rope_local_base_freq"], "rope.freq_base_swa");

/// The number of heads that the configurations of multimodal Gemma 3 models leave to their class's default.
pub(super) fn default_heads(architecture: Architecture) -> Option<usize> {
    (architecture == Architecture::Gemma3).then_some(8)
}

fn common(keys: Hyper<'_>, config: &mut ModelConfig) -> Result<(), ModelError> {
    config.norm.offset = if keys.is_gguf() { 0.0 } else { 1.0 };
    config.residual = Residual::Sandwich;
    config.embedding_scale = (config.hidden as f32).sqrt();
    config.feed_forward.activation = Activation::Gelu;
    config.tied = config.tied || !keys.is_gguf();
    // The largest models of both families do not scale by the size of a head.
    let shape = &config.attention.shape;
    let by = match keys.number(&HEAD_SCALE)? {
        Some(scalar) => scalar as f32,
        None if LARGEST.contains(&(config.layers, config.hidden)) => (config.hidden / shape.heads) as f32,
        None => shape.head_dim as f32,
    };
    config.attention.scale = 1.0 / by.sqrt();
    Ok(())
}

/// Layers and width of Gemma 2 27B and of Gemma 3 27B, whose GGUF files do not say their scale.
const LARGEST: [(usize, usize); 2] = [(46, 4608), (62, 5376)];

pub(super) fn gemma2(keys: Hyper<'_>, config: &mut ModelConfig) -> Result<(), ModelError> {
    common(keys, config)?;
    config.attention.cap = keys.number(&SCORE_CAP)?.map(|cap| cap as f32);
    config.logit_cap = keys.number(&LOGIT_CAP)?.map(|cap| cap as f32);
    config.attention.window = Some(keys.count(&WINDOW)?.unwrap_or(4096));
    local_layers(keys, config, |layer| layer.is_multiple_of(2))
}

pub(super) fn gemma3(keys: Hyper<'_>, config: &mut ModelConfig) -> Result<(), ModelError> {
    // What multimodal models' configurations leave out.
    if !keys.is_gguf() {
        let shape = &mut config.attention.shape;
        shape.head_dim = keys.count(&HEAD_DIM)?.unwrap_or(256);
        shape.value_dim = shape.head_dim;
        shape.kv_heads = keys.count(&KV_HEADS)?.unwrap_or(4);
        let dims = shape.head_dim;
        let global = theta(keys, &THETA, scaling::GLOBAL)?.unwrap_or(1e6);
        turn(config, |rope| {
            rope.dims = dims;
            rope.theta = global;
        });
        config.context = keys.count(&CONTEXT)?.unwrap_or(131_072);
    }
    common(keys, config)?;
    config.attention.head_norms = true;
    config.attention.cap = keys.number(&SCORE_CAP)?.map(|cap| cap as f32);
    config.logit_cap = keys.number(&LOGIT_CAP)?.map(|cap| cap as f32);
    config.attention.window = keys.count(&WINDOW)?;
    let every = keys.count(&PATTERN)?.unwrap_or(6).max(1);
    local_layers(keys, config, |layer| !(layer + 1).is_multiple_of(every))?;
    let theta = theta(keys, &LOCAL_THETA, scaling::LOCAL)?.unwrap_or(1e4);
    if let Positions::Rotary { global, local } = &mut config.attention.positions {
        *local = Some(Rope { theta, scaling: RopeScaling::None, ..global.clone() });
    }
    Ok(())
}
