//! The GPU path: weights, keys and values in device memory, and kernels of our own (`kernels/`) over them.

use std::sync::Arc;

use crate::model::device::{GpuInfo, GpuLimits, Placed, Placement};
use crate::model::families;
use crate::model::weights::{Role, Tensors, WeightSource};
use crate::model::{LanguageModel, ModelConfig, ModelError};

mod batch;
mod decoder;
mod driver;
mod limits;
mod loader;
mod rows;
mod select;
mod stage;
#[cfg(test)]
mod testing;
mod weights;

use decoder::CudaDecoder;
use driver::Gpu;
use weights::Format;

/// The GPUs that the driver shows; none where there is no driver.
pub fn gpus() -> Result<Vec<GpuInfo>, ModelError> {
    driver::devices()
}

/// The first GPU that the kernels run on.
fn first_usable() -> Result<usize, ModelError> {
    // Where there is none, opening the first one says why.
    Ok(gpus()?.iter().find(|gpu| gpu.is_usable()).map_or(0, |gpu| gpu.ordinal))
}

/// Measures what a GPU can do at best.
pub(super) fn measure_gpu(ordinal: Option<usize>) -> Result<(GpuInfo, GpuLimits), ModelError> {
    let gpu = Gpu::open(ordinal.map_or_else(first_usable, Ok)?)?;
    Ok((gpu.properties().clone(), limits::measure(&gpu)?))
}

/// Loads a model to GPUs: the whole of it to each where that fits, and else to as few of them together as can hold it.
pub(super) fn place(
    source: &(dyn WeightSource + Sync),
    config: ModelConfig,
    placement: &Placement,
) -> Result<Placed, ModelError> {
    if let Some(what) = config.peculiarity() {
        return Err(ModelError::Unsupported(format!(
            "{what} on a GPU (`{}`): the kernels run Llama and Qwen2 so far; --device cpu runs this model",
            config.architecture.name()
        )));
    }
    let numbers = if placement.gpus.is_empty() { vec![first_usable()?] } else { placement.gpus.clone() };
    let mut gpus = numbers.into_iter().map(Gpu::open).collect::<Result<Vec<_>, _>>()?;
    let kind = gpus[0].properties().capability;
    if gpus.iter().any(|gpu| gpu.properties().capability != kind) {
        return Err(ModelError::Unsupported(
            "GPUs of different kinds in --devices: results would depend on which one a session gets".into(),
        ));
    }
    let together = together(&gpus, bytes(source, &config)?, placement.gpu_memory)?;
    // Those that are left over cannot hold the model.
    gpus.truncate(gpus.len() / together * together);
    let decoders =
        gpus.chunks(together).map(|gpus| CudaDecoder::load(gpus, source, config.clone(), placement));
    let decoders = decoders.collect::<Result<Vec<_>, _>>()?;
    Ok(Placed {
        weight_bytes: decoders[0].weight_bytes(),
        kv_bytes_per_token: decoders[0].kv_bytes_per_token(),
        config,
        models: decoders.into_iter().map(|d| Box::new(d) as Box<dyn LanguageModel>).collect(),
        gpus: gpus.iter().map(|gpu| gpu.properties().clone()).collect(),
    })
}

/// How many GPUs must share the blocks.
fn together(gpus: &[Arc<Gpu>], weights: usize, share: f64) -> Result<usize, ModelError> {
    let mut least = usize::MAX;
    for gpu in gpus {
        let (free, total) = gpu.memory()?;
        least = least.min(((total as f64 * share) as usize).saturating_sub(total - free));
    }
    // A part stays for keys, values and activations.
    let room = least / 10 * 9;
    let count = weights.div_ceil(room.max(1)).max(1);
    if count > gpus.len() {
        return Err(ModelError::DeviceMemory(format!(
            "placing {} MiB of weights: {} GPU{} with {} MiB for them each",
            weights >> 20,
            gpus.len(),
            if gpus.len() == 1 { "" } else { "s" },
            room >> 20
        )));
    }
    Ok(count)
}

/// Bytes that the weights of a model take on a GPU, about.
fn bytes(source: &(dyn WeightSource + Sync), config: &ModelConfig) -> Result<usize, ModelError> {
    let tensors = Tensors { source, config, quantise: None };
    let of = |role, layer, rows, cols| -> Result<usize, ModelError> {
        let view = tensors.matrix(role, layer, rows, cols)?;
        Ok(view.rows * view.cols * Format::of(view.dtype).bits() / 8)
    };
    let mut all = 2 * config.vocab * config.hidden;
    for tensor in families::tensors(config).into_iter().filter(|tensor| tensor.rows > 1) {
        if tensor.role != Role::Embedding || config.tied {
            all += of(tensor.role, tensor.layer, tensor.rows, tensor.cols)?;
        }
    }
    Ok(all)
}
