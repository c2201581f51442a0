//! Phi-3: Llama with fused projections (see [`super::names`]), a sliding window, and rotary factors for long contexts.

use super::hyper::{Hyper, Key};
use super::{WINDOW, local_layers, turn};
use crate::model::ModelError;
use crate::model::config::ModelConfig;

const PARTIAL: Key = Key(&["partial_rotary_factor"], "");
const TURNED: Key = Key(&[], "rope.dimension_count");

pub(super) fn phi3(keys: Hyper<'_>, config: &mut ModelConfig) -> Result<(), ModelError> {
    let head_dim = config.attention.shape.head_dim;
    let turned = match (keys.count(&TURNED)?, keys.number(&PARTIAL)?) {
        (Some(turned), _) => turned,
        (None, Some(part)) => (head_dim as f64 * part) as usize,
        (None, None) => head_dim,
    };
    turn(config, |rope| rope.dims = turned);
    config.attention.window = keys.count(&WINDOW)?.filter(|window| *window > 0);
    local_layers(keys, config, |_| true)
}
