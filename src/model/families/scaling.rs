//! How rotary embeddings are stretched: `rope_scaling` of `config.json` (`rope_parameters` since transformers 5), and the
//! `rope.scaling` keys of GGUF.

use super::hyper::{Hyper, Key};
use crate::model::ModelError;
use crate::model::rope::RopeScaling;

const KIND: Key = Key(&["rope_type", "type"], "rope.scaling.type");
const FACTOR: Key = Key(&["factor"], "rope.scaling.factor");
const LOW: Key = Key(&["low_freq_factor"], "");
const HIGH: Key = Key(&["high_freq_factor"], "");
const ORIGINAL: Key = Key(&["original_max_position_embeddings"], "rope.scaling.original_context_length");
const BETA_FAST: Key = Key(&["beta_fast"], "rope.scaling.yarn_beta_fast");
const BETA_SLOW: Key = Key(&["beta_slow"], "rope.scaling.yarn_beta_slow");
const MAGNITUDE: Key = Key(&["attention_factor"], "rope.scaling.attn_factor");
const MSCALE: Key = Key(&["mscale"], "");
const MSCALE_ALL: Key = Key(&["mscale_all_dim"], "");

/// What a `config.json` says of the rotary embedding of layers of a kind, in the places that it has had over the years: beside
/// everything else, in `rope_scaling`, in `rope_parameters`, and there by the kind of layer.
pub(super) fn described<'a>(keys: Hyper<'a>, kind: &'static str) -> Option<Hyper<'a>> {
    keys.within("rope_scaling").or_else(|| {
        let parameters = keys.within("rope_parameters")?;
        Some(parameters.within(kind).unwrap_or(parameters))
    })
}

/// The kinds of layers in `rope_parameters`.
pub(super) const GLOBAL: &str = "full_attention";
pub(super) const LOCAL: &str = "sliding_attention";

/// Reads the scaling of a rotary embedding for a model of `context` positions.
pub(super) fn read(keys: Hyper<'_>, context: usize) -> Result<RopeScaling, ModelError> {
    let within = match keys {
        Hyper::Json(_) => match described(keys, GLOBAL) {
            Some(within) => within,
            None => return Ok(RopeScaling::None),
        },
        Hyper::Gguf(..) => keys,
    };
    let need = |key: &Key| {
        let value = within.number(key)?.filter(|v| *v > 0.0).map(|v| v as f32);
        value.ok_or_else(|| {
            ModelError::Config(format!("rope_scaling.{} is missing or not positive", key.0[0]))
        })
    };
    match within.text(&KIND) {
        None | Some("default" | "none") => {
            if let Hyper::Gguf(gguf, arch) = keys {
                if gguf.vector("rope_factors_long.weight").is_some() {
                    return long(keys, within, context);
                }
                if let Some(factors) = gguf.vector("rope_freqs.weight") {
                    return Ok(RopeScaling::Factors(factors));
                }
                if let Some(factor) = gguf.number(&format!("{arch}.rope.scale_linear")).filter(|f| *f > 0.0) {
                    return Ok(RopeScaling::Linear(factor as f32));
                }
            }
            Ok(RopeScaling::None)
        }
        Some("linear") => Ok(RopeScaling::Linear(need(&FACTOR)?)),
        Some("llama3") => Ok(RopeScaling::Llama3 {
            factor: need(&FACTOR)?,
            low_freq_factor: need(&LOW)?,
            high_freq_factor: need(&HIGH)?,
            original_context: need(&ORIGINAL)?,
        }),
        Some("yarn") => {
            let factor = need(&FACTOR)?;
            let number = |key| Ok::<_, ModelError>(within.number(key)?.map(|v| v as f32));
            let magnitude = match (number(&MAGNITUDE)?, number(&MSCALE)?, number(&MSCALE_ALL)?) {
                (Some(magnitude), ..) => magnitude,
                (None, Some(m), Some(all)) if m != 0.0 && all != 0.0 => {
                    RopeScaling::yarn_magnitude(factor, m) / RopeScaling::yarn_magnitude(factor, all)
                }
                _ => RopeScaling::yarn_magnitude(factor, 1.0),
            };
            Ok(RopeScaling::Yarn {
                factor,
                original_context: number(&ORIGINAL)?.unwrap_or(context as f32),
                beta_fast: number(&BETA_FAST)?.unwrap_or(32.0),
                beta_slow: number(&BETA_SLOW)?.unwrap_or(1.0),
                magnitude,
            })
        }
        // Its factors depend on the context: the family reads them.
        Some("longrope" | "su") => long(keys, within, context),
        Some(other) => Err(ModelError::Unsupported(format!(
            "RoPE scaling `{other}`; this version knows linear, llama3, yarn and longrope"
        ))),
    }
}

/// Phi-3's LongRoPE, of a model made for `context` positions.
fn long(keys: Hyper<'_>, within: Hyper<'_>, context: usize) -> Result<RopeScaling, ModelError> {
    let original_context = match keys.count(&ORIGINAL)? {
        Some(original) => original,
        None => within.need_count(&ORIGINAL)?,
    };
    let factors = |in_json: &'static str, tensor: &str| match keys {
        Hyper::Gguf(gguf, _) => gguf.vector(tensor),
        Hyper::Json(_) => {
            let list = within.list(in_json)?;
            list.iter().map(|factor| factor.as_f64().map(|f| f as f32)).collect()
        }
    };
    let need = |in_json: &'static str, tensor: &str| {
        let missing =
            || ModelError::Config(format!("rope_scaling.{in_json} is missing or no list of numbers"));
        factors(in_json, tensor).ok_or_else(missing)
    };
    let stretched = context as f32 / original_context.max(1) as f32;
    let magnitude = match within.number(&MAGNITUDE)? {
        Some(magnitude) => magnitude as f32,
        None if stretched <= 1.0 => 1.0,
        None => (1.0 + stretched.ln() / (original_context as f32).ln()).sqrt(),
    };
    Ok(RopeScaling::Long {
        short: need("short_factor", "rope_factors_short.weight")?,
        long: need("long_factor", "rope_factors_long.weight")?,
        original_context,
        magnitude,
    })
}
