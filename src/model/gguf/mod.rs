//! GGUF files: a header, and tensors that are views into the memory-mapped file.

use std::collections::HashMap;
use std::path::Path;

use super::ModelError;
use super::config::ModelConfig;
use super::cpu::packed::MatrixView;
use super::families::{self, Scheme};
use super::weights::{FileBytes, WeightSource, map};
use header::{Header, TensorInfo};

mod header;

pub use header::Value;

/// An opened GGUF file.
pub struct Gguf {
    header: Header,
    bytes: FileBytes,
    path: String,
}

impl Gguf {
    /// Opens a file and checks that every tensor lies inside it, so that a truncated file is refused at once.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        Self::from_bytes(map(path)?, path.display().to_string())
    }

    /// The same from the bytes of a file; `path` is what errors call it.
    pub(super) fn from_bytes(bytes: FileBytes, path: String) -> Result<Self, ModelError> {
        let header = Header::read(&bytes).map_err(|why| ModelError::File {
            path: path.clone(),
            reason: format!(
                "not a GGUF file that can be used: {why}. If it is truncated or damaged, fetch it again"
            ),
        })?;
        let gguf = Self { header, bytes, path };
        for name in gguf.header.tensors.keys() {
            gguf.tensor(name)?;
        }
        Ok(gguf)
    }

    /// All metadata.
    pub fn metadata(&self) -> &HashMap<String, Value> {
        &self.header.metadata
    }

    /// The element types of the matrices with how many tensors use each, most used first.
    pub fn dtypes(&self) -> Vec<(String, usize)> {
        let mut counts = std::collections::BTreeMap::new();
        for info in self.header.tensors.values() {
            *counts.entry(format!("{:?}", info.dtype)).or_insert(0) += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        counts
    }

    fn tensor(&self, name: &str) -> Result<(&TensorInfo, &[u8]), ModelError> {
        let Some(info) = self.header.tensors.get(name) else {
            return Err(ModelError::MissingTensor { tensor: name.into(), path: self.path.clone() });
        };
        let error = |reason: String| ModelError::File { path: self.path.clone(), reason };
        let bytes = info
            .dtype
            .bytes_of(&info.shape)
            .ok_or_else(|| error(format!("tensor `{name}` has impossible shape {:?}", info.shape)))?;
        let end = info.start.checked_add(bytes);
        let view = end.and_then(|end| self.bytes.get(info.start..end)).ok_or_else(|| {
            error(format!("tensor `{name}` reaches past the end: the file is truncated; fetch it again"))
        })?;
        Ok((info, view))
    }

    /// A number of the metadata.
    pub(super) fn number(&self, key: &str) -> Option<f64> {
        match self.header.metadata.get(key)? {
            Value::Int(v) => Some(*v as f64),
            Value::Float(v) => Some(*v),
            _ => None,
        }
    }

    /// A text of the metadata.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match self.header.metadata.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A truth value of the metadata.
    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        match self.header.metadata.get(key)? {
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
        let vocab = self.header.tensors.get(embedding).and_then(|info| info.shape.first().copied());
        let vocab = vocab
            .ok_or_else(|| ModelError::MissingTensor { tensor: embedding.into(), path: self.path.clone() })?;
        families::from_gguf(self, arch, vocab)
    }
}

impl WeightSource for Gguf {
    fn scheme(&self) -> Scheme {
        Scheme::Gguf
    }

    fn release(&self, view: &MatrixView<'_>) {
        self.bytes.release(view.bytes);
    }

    fn has(&self, name: &str) -> bool {
        self.header.tensors.contains_key(name)
    }

    fn matrix(&self, name: &str) -> Result<MatrixView<'_>, ModelError> {
        let (info, bytes) = self.tensor(name)?;
        // A header's tensors have a dimension at least.
        let (cols, outer) = info.shape.split_last().unwrap_or((&1, &[]));
        Ok(MatrixView::new(info.dtype, outer.iter().product(), *cols, bytes))
    }
}
