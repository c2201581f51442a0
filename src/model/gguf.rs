//! GGUF files: candle reads the header, the tensors are views into the memory-mapped file.

use std::fs::File;
use std::io::Cursor;
use std::path::Path;

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{Content, Value};
use memmap2::Mmap;

use super::ModelError;
use super::config::ModelConfig;
use super::cpu::packed::MatrixView;
use super::families::{self, Scheme};
use super::quant::BlockFormat;
use super::weights::WeightSource;

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

    /// A number of the metadata.
    pub(super) fn number(&self, key: &str) -> Option<f64> {
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

    /// A text of the metadata.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match self.content.metadata.get(key)? {
            Value::String(s) => Some(s),
            _ => None,
        }
    }

    /// A truth value of the metadata.
    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        match self.content.metadata.get(key)? {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// The values of a small tensor; `None` if it is not there.
    pub(super) fn vector(&self, name: &str) -> Option<Vec<f32>> {
        let view = self.matrix(name).ok().filter(|view| view.rows == 1)?;
        let mut values = vec![0.0; view.cols];
        view.row_f32(0, &mut values);
        Some(values)
    }

    /// Whether there is an output projection besides the embedding table.
    pub(super) fn has_output(&self) -> bool {
        self.has("output.weight")
    }

    /// The hyperparameters.
    pub fn config(&self) -> Result<ModelConfig, ModelError> {
        let arch = self.text("general.architecture").ok_or_else(|| {
            ModelError::Config(format!("{}: GGUF metadata `general.architecture` is missing", self.path))
        })?;
        let embedding = "token_embd.weight";
        let vocab =
            self.content.tensor_infos.get(embedding).and_then(|info| info.shape.dims().first().copied());
        let vocab = vocab
            .ok_or_else(|| ModelError::MissingTensor { tensor: embedding.into(), path: self.path.clone() })?;
        families::from_gguf(self, arch, vocab)
    }
}

fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

impl WeightSource for Gguf {
    fn scheme(&self) -> Scheme {
        Scheme::Gguf
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
        let Some((&cols, outer)) = info.shape.dims().split_last() else {
            return Err(ModelError::Shape { tensor: name.into(), found: vec![], expected: vec![0, 0] });
        };
        Ok(MatrixView::new(dtype, outer.iter().product(), cols, bytes))
    }
}
