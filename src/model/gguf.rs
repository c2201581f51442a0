//! GGUF files: candle reads the header, the tensors are views into the memory-mapped file.

use std::fs::File;
use std::io::Cursor;
use std::path::Path;

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{Content, Value};
use memmap2::Mmap;

use super::ModelError;
use super::config::{Architecture, ModelConfig, RopeScaling};
use super::cpu::attention::HeadShape;
use super::cpu::ops::RopePairs;
use super::cpu::packed::MatrixView;
use super::quant::BlockFormat;
use super::weights::{Part, Role, WeightSource};

/// An opened GGUF file.
pub struct Gguf {
    content: Content,
    map: Mmap,
    path: String,
}

impl Gguf {
    /// Opens a file and checks that every tensor lies inside it, so that a truncated file is refused at once.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let shown = path.display().to_string();
        let file =
            File::open(path).map_err(|e| ModelError::File { path: shown.clone(), reason: e.to_string() })?;
        // SAFETY: the file is opened for reading only; a model file that another process rewrites while we run
        // is outside of what we can guard against (it would be as wrong when read in pieces).
        let map = unsafe { Mmap::map(&file) }
            .map_err(|e| ModelError::File { path: shown.clone(), reason: e.to_string() })?;
        let content = Content::read(&mut Cursor::new(&map[..])).map_err(|e| ModelError::File {
            path: shown.clone(),
            reason: format!(
                "not a valid GGUF file ({}): it is truncated or damaged; fetch it again",
                first_line(&e)
            ),
        })?;
        let gguf = Self { content, map, path: shown };
        for name in gguf.content.tensor_infos.keys() {
            gguf.bytes(name)?;
        }
        Ok(gguf)
    }

    /// All metadata.
    pub fn metadata(&self) -> &std::collections::HashMap<String, Value> {
        &self.content.metadata
    }

    /// The element types of the matrices with how many tensors use each, most used first.
    pub fn dtypes(&self) -> Vec<(String, usize)> {
        let mut counts = std::collections::BTreeMap::new();
        for info in self.content.tensor_infos.values() {
            *counts.entry(format!("{:?}", info.ggml_dtype)).or_insert(0) += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        counts
    }

    fn bytes(&self, name: &str) -> Result<&[u8], ModelError> {
        let Some(info) = self.content.tensor_infos.get(name) else {
            return Err(ModelError::MissingTensor { tensor: name.into(), path: self.path.clone() });
        };
        let error = |reason: String| ModelError::File { path: self.path.clone(), reason };
        let elements = info.shape.dims().iter().try_fold(1usize, |a, &d| a.checked_mul(d));
        let (block, size) = (info.ggml_dtype.block_size(), info.ggml_dtype.type_size());
        let cols = info.shape.dims().last().copied().unwrap_or(0);
        let bytes = elements
            .filter(|_| cols.is_multiple_of(block))
            .and_then(|n| (n / block).checked_mul(size))
            .ok_or_else(|| error(format!("tensor `{name}` has impossible shape {:?}", info.shape.dims())))?;
        let start =
            self.content.tensor_data_offset.checked_add(info.offset).and_then(|s| usize::try_from(s).ok());
        start.and_then(|start| self.map.get(start..start.checked_add(bytes)?)).ok_or_else(|| {
            error(format!("tensor `{name}` reaches past the end: the file is truncated; fetch it again"))
        })
    }

    fn number(&self, key: &str) -> Option<f64> {
        match self.content.metadata.get(key)? {
            Value::U8(v) => Some(f64::from(*v)),
            Value::I8(v) => Some(f64::from(*v)),
            Value::U16(v) => Some(f64::from(*v)),
            Value::I16(v) => Some(f64::from(*v)),
            Value::U32(v) => Some(f64::from(*v)),
            Value::I32(v) => Some(f64::from(*v)),
            Value::U64(v) => Some(*v as f64),
            Value::I64(v) => Some(*v as f64),
            Value::F32(v) => Some(f64::from(*v)),
            Value::F64(v) => Some(*v),
            _ => None,
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        match self.content.metadata.get(key)? {
            Value::String(s) => Some(s),
            _ => None,
        }
    }

    /// The hyperparameters.
    pub fn config(&self) -> Result<ModelConfig, ModelError> {
        let missing =
            |key: &str| ModelError::Config(format!("{}: GGUF metadata `{key}` is missing", self.path));
        let arch = self.text("general.architecture").ok_or_else(|| missing("general.architecture"))?;
        let architecture = Architecture::from_name(arch)?;
        let get = |key: &str| {
            let key = format!("{arch}.{key}");
            self.number(&key).filter(|v| *v >= 0.0).ok_or_else(|| missing(&key))
        };
        let size = |key: &str| get(key).map(|v| v as usize);
        let heads = size("attention.head_count")?;
        let hidden = size("embedding_length")?;
        let head_dim = match self.number(&format!("{arch}.attention.key_length")) {
            Some(v) => v as usize,
            None if heads > 0 => hidden / heads,
            None => 0,
        };
        let embedding = self.name(Role::Embedding, 0, Part::Weight);
        let vocab = self
            .content
            .tensor_infos
            .get(&embedding)
            .and_then(|info| info.shape.dims().first().copied())
            .ok_or_else(|| ModelError::MissingTensor { tensor: embedding, path: self.path.clone() })?;
        let rope_scaling = match self.text(&format!("{arch}.rope.scaling.type")) {
            None | Some("none") => match self.matrix("rope_freqs.weight") {
                Ok(view) => {
                    let mut factors = vec![1.0; view.cols];
                    view.row_f32(0, &mut factors);
                    RopeScaling::Factors(factors)
                }
                Err(_) => match self.number(&format!("{arch}.rope.scale_linear")) {
                    Some(factor) if factor > 0.0 => RopeScaling::Linear(factor as f32),
                    _ => RopeScaling::None,
                },
            },
            Some("linear") => RopeScaling::Linear(get("rope.scaling.factor")? as f32),
            Some(other) => return Err(ModelError::Unsupported(format!("RoPE scaling `{other}`"))),
        };
        let config = ModelConfig {
            architecture,
            hidden,
            layers: size("block_count")?,
            shape: HeadShape { heads, kv_heads: size("attention.head_count_kv").unwrap_or(heads), head_dim },
            feed_forward: size("feed_forward_length")?,
            vocab,
            context: size("context_length")?,
            rms_eps: get("attention.layer_norm_rms_epsilon")? as f32,
            rope_theta: get("rope.freq_base").unwrap_or(1e4) as f32,
            rope_scaling,
            rope_pairs: match architecture {
                Architecture::Llama => RopePairs::Interleaved,
                Architecture::Qwen2 => RopePairs::Halves,
            },
            tied: !self.has(&self.name(Role::Output, 0, Part::Weight)),
        };
        config.check()?;
        Ok(config)
    }
}

fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

impl WeightSource for Gguf {
    fn name(&self, role: Role, layer: usize, part: Part) -> String {
        let stem = match role {
            Role::Embedding => "token_embd",
            Role::OutputNorm => "output_norm",
            Role::Output => "output",
            Role::AttentionNorm => "attn_norm",
            Role::Q => "attn_q",
            Role::K => "attn_k",
            Role::V => "attn_v",
            Role::O => "attn_output",
            Role::FeedForwardNorm => "ffn_norm",
            Role::Gate => "ffn_gate",
            Role::Up => "ffn_up",
            Role::Down => "ffn_down",
        };
        let part = if part == Part::Weight { "weight" } else { "bias" };
        match role {
            Role::Embedding | Role::OutputNorm | Role::Output => format!("{stem}.{part}"),
            _ => format!("blk.{layer}.{stem}.{part}"),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.content.tensor_infos.contains_key(name)
    }

    fn matrix(&self, name: &str) -> Result<MatrixView<'_>, ModelError> {
        let bytes = self.bytes(name)?;
        let info = &self.content.tensor_infos[name];
        let dtype = info.ggml_dtype;
        if !matches!(dtype, GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16)
            && BlockFormat::of(dtype).is_none()
        {
            return Err(ModelError::Unsupported(format!(
                "tensor `{name}` of type {dtype:?}; this version reads F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K"
            )));
        }
        let (rows, cols) = match *info.shape.dims() {
            [cols] => (1, cols),
            [rows, cols] => (rows, cols),
            ref dims => {
                return Err(ModelError::Shape {
                    tensor: name.into(),
                    found: dims.to_vec(),
                    expected: vec![0, 0],
                });
            }
        };
        Ok(MatrixView { dtype, rows, cols, bytes })
    }
}
