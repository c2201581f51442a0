//! What has layer norms and an ungated feed-forward net: StarCoder2, StarCoder and SantaCoder (`gpt_bigcode`), CodeGen.

use super::hyper::{Hyper, Key};
use super::{ACTIVATION, LAYER_EPS, TIED, WINDOW, local_layers, turn};
use crate::model::ModelError;
use crate::model::config::{Activation, Biases, ModelConfig, NormKind, Positions, Residual};
use crate::model::cpu::ops::RopePairs;

const USES_BIAS: Key = Key(&["use_bias"], "");
const ONE_KEY_HEAD: Key = Key(&["multi_query"], "");
const TURNED: Key = Key(&["rotary_dim"], "rope.dimension_count");

fn common(keys: Hyper<'_>, config: &mut ModelConfig) -> Result<(), ModelError> {
    config.norm.kind = NormKind::Layer;
    config.norm.eps = keys.number(&LAYER_EPS)?.unwrap_or(1e-5) as f32;
    config.feed_forward.gated = false;
    if keys.text(&ACTIVATION).is_none() {
        config.feed_forward.activation = Activation::Gelu;
    }
    config.biases = Biases { heads: true, attention_out: true, feed_forward: true, output: false };
    Ok(())
}

pub(super) fn starcoder2(keys: Hyper<'_>, config: &mut ModelConfig) -> Result<(), ModelError> {
    common(keys, config)?;
    if keys.flag(&USES_BIAS)? == Some(false) {
        config.biases = Biases::default();
    }
    tie_by_default(keys, config)?;
    config.attention.window = keys.count(&WINDOW)?;
    local_layers(keys, config, |_| true)
}

pub(super) fn gpt_bigcode(keys: Hyper<'_>, config: &mut ModelConfig) -> Result<(), ModelError> {
    common(keys, config)?;
    tie_by_default(keys, config)?;
    if keys.flag(&ONE_KEY_HEAD)?.unwrap_or(true) {
        config.attention.shape.kv_heads = 1;
    }
    config.attention.positions = Positions::Learned;
    Ok(())
}

pub(super) fn codegen(keys: Hyper<'_>, config: &mut ModelConfig) -> Result<(), ModelError> {
    common(keys, config)?;
    config.biases = Biases { heads: false, attention_out: false, feed_forward: true, output: true };
    config.residual = Residual::Parallel;
    let head_dim = config.attention.shape.head_dim;
    let turned = keys.count(&TURNED)?.unwrap_or(head_dim);
    turn(config, |rope| {
        rope.dims = turned;
        rope.pairs = RopePairs::Interleaved;
    });
    Ok(())
}

/// The classes of these models tie their projections unless they are told not to.
fn tie_by_default(keys: Hyper<'_>, config: &mut ModelConfig) -> Result<(), ModelError> {
    if !keys.is_gguf() {
        config.tied = keys.flag(&TIED)?.unwrap_or(true);
    }
    Ok(())
}
