//! The GPU path: weights, keys and values in device memory, and kernels of our own (`kernels/`) over them.

use std::sync::Arc;

use crate::model::device::{GpuInfo, GpuLimits, Placed, Placement};
use crate::model::weights::{Part, Role, WeightSource};
use crate::model::{LanguageModel, ModelConfig, ModelError};

mod batch;
mod decoder;
pub mod driver;
mod limits;
mod loader;
mod select;
mod stage;
#[cfg(test)]
mod testing;
mod weights;

pub use decoder::{CudaDecoder, Options};
use driver::{Gpu, Properties};

impl From<Properties> for GpuInfo {
    fn from(properties: Properties) -> Self {
        let Properties { ordinal, name, capability, multiprocessors, memory } = properties;
        Self { ordinal, name, capability, multiprocessors, memory_bytes: memory }
    }
}

/// The GPUs that the driver shows; none where there is no driver.
pub fn gpus() -> Result<Vec<GpuInfo>, ModelError> {
    Ok(driver::devices()?.into_iter().map(GpuInfo::from).collect())
}

/// Measures what a GPU can do at best.
pub(super) fn measure_gpu(ordinal: usize) -> Result<(GpuInfo, GpuLimits), ModelError> {
    let gpu = Gpu::open(ordinal)?;
    Ok((gpu.properties().clone().into(), limits::measure(&gpu)?))
}

/// Loads a model to GPUs: the whole of it to each where that fits, and else to as few of them together as can hold it.
pub(super) fn place(
    source: &(dyn WeightSource + Sync),
    config: ModelConfig,
    placement: &Placement,
) -> Result<Placed, ModelError> {
    let numbers = if placement.gpus.is_empty() { vec![0] } else { placement.gpus.clone() };
    let gpus = numbers.into_iter().map(Gpu::open).collect::<Result<Vec<_>, _>>()?;
    let together = together(&gpus, bytes(source, &config)?, placement.gpu_memory)?;
    let options = Options { memory: placement.gpu_memory, kv_bytes: placement.kv_bytes };
    let decoders =
        gpus.chunks(together).map(|gpus| CudaDecoder::load(gpus, source, config.clone(), &options));
    let decoders = decoders.collect::<Result<Vec<_>, _>>()?;
    Ok(Placed {
        weight_bytes: decoders[0].weight_bytes(),
        kv_bytes_per_token: decoders[0].kv_bytes_per_token(),
        config,
        models: decoders.into_iter().map(|d| Box::new(d) as Box<dyn LanguageModel>).collect(),
        gpus: gpus.iter().map(|gpu| gpu.properties().clone().into()).collect(),
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
    let of = |role, layer| -> Result<usize, ModelError> {
        Ok(source.matrix(&source.name(role, layer, Part::Weight))?.bytes.len())
    };
    let mut all = of(Role::Embedding, 0)?;
    all += of(if config.tied { Role::Embedding } else { Role::Output }, 0)?;
    for layer in 0..config.layers {
        for role in [Role::Q, Role::K, Role::V, Role::O, Role::Gate, Role::Up, Role::Down] {
            all += of(role, layer)?;
        }
    }
    Ok(all)
}
