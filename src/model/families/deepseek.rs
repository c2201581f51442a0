//! DeepSeek-V2: latent attention, and experts from a certain layer on beside a net that all rows take.
//!
//! Keys and values are cached as the heads see them, not as the latent vector: more memory, less arithmetic.

use super::hyper::{Hyper, Key};
use super::{EXPERT_WIDTH, EXPERTS, USED_EXPERTS, scaling, turn};
use crate::model::ModelError;
use crate::model::config::{Experts, Latent, ModelConfig};
use crate::model::cpu::attention::HeadShape;
use crate::model::cpu::ops::RopePairs;
use crate::model::rope::{Rope, RopeScaling};

const RANK: Key = Key(&["kv_lora_rank"], "attention.kv_lora_rank");
const QUERY_RANK: Key = Key(&["q_lora_rank"], "attention.q_lora_rank");
const TURNED: Key = Key(&["qk_rope_head_dim"], "rope.dimension_count");
const STILL: Key = Key(&["qk_nope_head_dim"], "");
const KEY_DIM: Key = Key(&[], "attention.key_length");
const VALUE_DIM: Key = Key(&["v_head_dim"], "attention.value_length");
const SHARED: Key = Key(&["n_shared_experts"], "expert_shared_count");
const PLAIN_LAYERS: Key = Key(&["first_k_dense_replace"], "leading_dense_block_count");
const STEP: Key = Key(&["moe_layer_freq"], "");
const NORMALISED: Key = Key(&["norm_topk_prob"], "expert_weights_norm");
const SCALE: Key = Key(&["routed_scaling_factor"], "expert_weights_scale");
const METHOD: Key = Key(&["topk_method"], "");
const SCORING: Key = Key(&["scoring_func"], "");
const MSCALE_ALL: Key = Key(&["mscale_all_dim"], "");
const LOG_MULTIPLIER: Key = Key(&[], "rope.scaling.yarn_log_multiplier");

pub(super) fn deepseek2(keys: Hyper<'_>, config: &mut ModelConfig) -> Result<(), ModelError> {
    if keys.text(&METHOD).is_some_and(|method| method != "greedy") {
        return Err(ModelError::Unsupported("experts that are chosen by groups (`topk_method`)".into()));
    }
    if keys.text(&SCORING).is_some_and(|scoring| scoring != "softmax") {
        return Err(ModelError::Unsupported(
            "experts that are not scored by softmax (`scoring_func`)".into(),
        ));
    }
    let (rank, turned) = (keys.need_count(&RANK)?, keys.need_count(&TURNED)?);
    let head_dim = match keys.count(&KEY_DIM)? {
        Some(dim) if keys.is_gguf() => dim,
        _ => keys.need_count(&STILL)? + turned,
    };
    let heads = config.attention.shape.heads;
    let value_dim = keys.need_count(&VALUE_DIM)?;
    config.attention.shape = HeadShape { heads, kv_heads: heads, head_dim, value_dim };
    let query_rank = keys.count(&QUERY_RANK)?.filter(|rank| *rank > 0);
    config.attention.latent = Some(Latent { rank, query_rank, turned });

    let mut rope = Rope::whole(1e4, turned, RopePairs::Interleaved);
    turn(config, |old| rope.theta = old.theta);
    rope.scaling = scaling::read(keys, config.context)?;
    rope.first = head_dim.saturating_sub(turned);
    let all = match keys {
        Hyper::Json(_) => {
            let within = scaling::described(keys, scaling::GLOBAL);
            within.map_or(Ok(None), |within| within.number(&MSCALE_ALL))?
        }
        // GGUF has a tenth of it.
        Hyper::Gguf(..) => keys.number(&LOG_MULTIPLIER)?.map(|m| 10.0 * m),
    };
    let mut stretch = 1.0;
    if let (RopeScaling::Yarn { factor, magnitude, .. }, Some(all)) = (&mut rope.scaling, all) {
        stretch = RopeScaling::yarn_magnitude(*factor, all as f32);
        if keys.is_gguf() {
            // Both of these models' multipliers are the same, so what they do to the turned part cancels out.
            *magnitude = 1.0;
        }
    }
    config.attention.scale = stretch * stretch / (head_dim as f32).sqrt();
    turn(config, |old| *old = rope);

    let width = keys.need_count(&EXPERT_WIDTH)?;
    let (first, step) = (keys.count(&PLAIN_LAYERS)?.unwrap_or(0), keys.count(&STEP)?.unwrap_or(1).max(1));
    if let Some(count) = keys.count(&EXPERTS)?.filter(|count| *count > 0) {
        config.feed_forward.experts = Some(Experts {
            count,
            used: keys.need_count(&USED_EXPERTS)?,
            width,
            shared_width: keys.count(&SHARED)?.unwrap_or(0).saturating_mul(width),
            normalised: keys.flag(&NORMALISED)?.unwrap_or(false),
            scale: keys.number(&SCALE)?.unwrap_or(1.0) as f32,
            layers: (0..config.layers).map(|l| l >= first && l.is_multiple_of(step)).collect(),
        });
    }
    Ok(())
}
