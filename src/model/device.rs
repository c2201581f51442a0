//! Where models run: the processor, or GPUs. One model may be on several: each an engine of its own, or some blocks each.

use super::config::ModelConfig;
use super::quant::WeightType;
use super::{LanguageModel, ModelError, ModelFiles};

/// What a user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wanted {
    /// A GPU where there is one, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// A GPU; an error where there is none.
    Cuda,
}

/// Where a model is to run, and with how much memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    /// On what.
    pub device: Wanted,
    /// Numbers of the GPUs; none: the first.
    pub gpus: Vec<usize>,
    /// Share of a GPU's memory that may be in use in all, that of other programs included.
    pub gpu_memory: f64,
    /// Bytes for keys and values at most. On a processor [`KV_BYTES`] where nothing is said, on a GPU what its share
    /// leaves.
    pub kv_bytes: Option<usize>,
    /// What dense weights are quantised to when they are loaded; nothing: they stay as they are in the file.
    pub quantise: Option<WeightType>,
}

/// Memory for keys and values on the processor where nothing is said.
pub const KV_BYTES: usize = 3 << 30;

impl Default for Placement {
    fn default() -> Self {
        Self { device: Wanted::Auto, gpus: Vec::new(), gpu_memory: 0.9, kv_bytes: None, quantise: None }
    }
}

/// A GPU of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuInfo {
    /// Its number.
    pub ordinal: usize,
    /// Its name.
    pub name: String,
    /// Compute capability, 90 for 9.0.
    pub capability: u32,
    /// Multiprocessors.
    pub multiprocessors: usize,
    /// Bytes of memory.
    pub memory_bytes: usize,
}

/// What a GPU can do at best, measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GpuLimits {
    /// Bytes of its memory that it reads a second, in 10⁹.
    pub read_gb_per_second: f64,
    /// Multiplications and additions of its tensor cores in bf16 a second, in 10⁹.
    pub bf16_gflop_per_second: f64,
}

/// Measures the first GPU that a model would be placed on; `None` where it would be on the processor. To be done before
/// the model is loaded.
pub fn measure(placement: &Placement) -> Result<Option<(GpuInfo, GpuLimits)>, ModelError> {
    if wants_gpu(placement)? { measure_gpu(placement.gpus.first().copied()).map(Some) } else { Ok(None) }
}

impl GpuInfo {
    /// Whether the kernels run on it: on Ampere (8.0) and later.
    pub fn is_usable(&self) -> bool {
        self.capability >= 80
    }
}

/// A loaded model.
pub struct Placed {
    /// The model, once for each engine that may run.
    pub models: Vec<Box<dyn LanguageModel>>,
    /// Its hyperparameters.
    pub config: ModelConfig,
    /// Bytes that a forward pass with logits reads of the weights.
    pub weight_bytes: usize,
    /// Bytes of keys and values a token.
    pub kv_bytes_per_token: usize,
    /// The GPUs in use; none: it runs on the processor.
    pub gpus: Vec<GpuInfo>,
}

impl ModelFiles {
    /// Loads the model to where it is to run.
    ///
    /// # Errors
    /// A tensor is missing or wrong, a GPU that was asked for cannot be used, or has not enough memory.
    pub fn place(self, placement: &Placement) -> Result<Placed, ModelError> {
        if wants_gpu(placement)? {
            if placement.quantise.is_some() {
                return Err(ModelError::Unsupported(
                    "quantising weights that go to a GPU: use a model that is quantised, or --device cpu"
                        .into(),
                ));
            }
            let config = self.config()?;
            return match self {
                Self::Gguf(gguf) => place(&*gguf, config, placement),
                Self::Safetensors(dir, _) => place(&*dir, config, placement),
                Self::Random(weights, _) => place(&*weights, config, placement),
            };
        }
        let decoder = self.load_quantised(placement.kv_bytes.unwrap_or(KV_BYTES), placement.quantise)?;
        Ok(Placed {
            config: decoder.config().clone(),
            weight_bytes: decoder.weight_bytes(),
            kv_bytes_per_token: decoder.config().kv_bytes_per_token(),
            models: vec![Box::new(decoder)],
            gpus: Vec::new(),
        })
    }
}

/// Whether a GPU is to be used.
fn wants_gpu(placement: &Placement) -> Result<bool, ModelError> {
    match placement.device {
        Wanted::Cpu => Ok(false),
        Wanted::Cuda => Ok(true),
        Wanted::Auto => Ok(!placement.gpus.is_empty() || gpus()?.iter().any(GpuInfo::is_usable)),
    }
}

/// The GPUs that this build can see; none where it was built without them.
#[cfg(not(feature = "cuda"))]
pub fn gpus() -> Result<Vec<GpuInfo>, ModelError> {
    Ok(Vec::new())
}

#[cfg(not(feature = "cuda"))]
fn not_built<T>() -> Result<T, ModelError> {
    Err(ModelError::Device(
        "this vigor was built without CUDA; build it with `cargo build --release --features cuda`".into(),
    ))
}

/// Loads weights to GPUs.
#[cfg(not(feature = "cuda"))]
pub(super) fn place(
    _: &(dyn super::weights::WeightSource + Sync),
    _: ModelConfig,
    _: &Placement,
) -> Result<Placed, ModelError> {
    not_built()
}

#[cfg(not(feature = "cuda"))]
fn measure_gpu(_: Option<usize>) -> Result<(GpuInfo, GpuLimits), ModelError> {
    not_built()
}

#[cfg(feature = "cuda")]
pub use super::cuda::gpus;
#[cfg(feature = "cuda")]
use super::cuda::measure_gpu;
#[cfg(feature = "cuda")]
pub(super) use super::cuda::place;
