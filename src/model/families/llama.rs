//! Llama, and Mistral, which adds a sliding window.

use super::hyper::Hyper;
use super::{WINDOW, local_layers};
use crate::model::ModelError;
use crate::model::config::ModelConfig;

/// The plainest family: everything is as [`super::read`] begins.
pub(super) fn llama(_: Hyper<'_>, _: &mut ModelConfig) -> Result<(), ModelError> {
    Ok(())
}

pub(super) fn mistral(keys: Hyper<'_>, config: &mut ModelConfig) -> Result<(), ModelError> {
    config.attention.window = keys.count(&WINDOW)?;
    local_layers(keys, config, |_| true)
}
