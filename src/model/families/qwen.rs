//! Qwen2 and Qwen2.5, Qwen3, and Qwen3 with experts.

use super::hyper::{Hyper, Key};
use super::{EXPERT_WIDTH, EXPERTS, USED_EXPERTS, WINDOW, local_layers};
use crate::model::ModelError;
use crate::model::config::{Biases, Experts, ModelConfig};

const USES_WINDOW: Key = Key(&["use_sliding_window"], "");
const GLOBAL_LAYERS: Key = Key(&["max_window_layers"], "");
const NORMALISED: Key = Key(&["norm_topk_prob"], "");
const STEP: Key = Key(&["decoder_sparse_step"], "");

pub(super) fn qwen2(keys: Hyper<'_>, config: &mut ModelConfig) -> Result<(), ModelError> {
    config.biases = Biases { heads: true, ..Biases::default() };
    windows(keys, config)
}

pub(super) fn qwen3(keys: Hyper<'_>, config: &mut ModelConfig) -> Result<(), ModelError> {
    config.attention.head_norms = true;
    windows(keys, config)
}

pub(super) fn qwen3_moe(keys: Hyper<'_>, config: &mut ModelConfig) -> Result<(), ModelError> {
    qwen3(keys, config)?;
    let step = keys.count(&STEP)?.unwrap_or(1).max(1);
    let plain = keys.list("mlp_only_layers").unwrap_or_default();
    let is_plain = |layer: usize| plain.iter().any(|p| p.as_u64() == Some(layer as u64));
    config.feed_forward.experts = Some(Experts {
        count: keys.need_count(&EXPERTS)?,
        used: keys.need_count(&USED_EXPERTS)?,
        width: keys.need_count(&EXPERT_WIDTH)?,
        shared_width: 0,
        normalised: keys.is_gguf() || keys.flag(&NORMALISED)?.unwrap_or(false),
        scale: 1.0,
        layers: (0..config.layers).map(|l| (l + 1).is_multiple_of(step) && !is_plain(l)).collect(),
    });
    Ok(())
}

/// The upper layers are local, if any.
fn windows(keys: Hyper<'_>, config: &mut ModelConfig) -> Result<(), ModelError> {
    if keys.flag(&USES_WINDOW)?.unwrap_or(false) {
        config.attention.window = keys.count(&WINDOW)?;
        let global = keys.count(&GLOBAL_LAYERS)?.unwrap_or(config.layers);
        local_layers(keys, config, |layer| layer >= global)?;
    }
    Ok(())
}
