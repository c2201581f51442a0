//! Hugging Face folders: `config.json` and one or several `safetensors` files, memory-mapped.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use memmap2::Mmap;
use serde::Deserialize;

use super::ModelError;
use super::config::ModelConfig;
use super::cpu::packed::MatrixView;
use super::families::{self, Scheme};
use super::quant::WeightType;
use super::weights::WeightSource;

/// The tensors of one folder.
pub struct SafetensorsDir {
    files: Vec<Mmap>,
    tensors: HashMap<String, Entry>,
    shown: String,
}

struct Entry {
    file: usize,
    dtype: WeightType,
    shape: Vec<usize>,
    start: usize,
    end: usize,
}

/// A tensor in the header of a safetensors file (JSON, after a length of 8 bytes).
#[derive(Deserialize)]
struct HeaderEntry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

impl SafetensorsDir {
    /// Opens a folder: `model.safetensors`, or the shards that `model.safetensors.index.json` names.
    pub fn open(dir: &Path) -> Result<Self, ModelError> {
        let mut names = vec!["model.safetensors".to_owned()];
        let index = dir.join("model.safetensors.index.json");
        if index.exists() {
            let text = read_text(&index)?;
            let index: Index = serde_json::from_str(&text).map_err(|e| file_error(&index, e))?;
            names = index.weight_map.into_values().collect();
            names.sort();
            names.dedup();
        }
        let mut opened =
            Self { files: Vec::new(), tensors: HashMap::new(), shown: dir.display().to_string() };
        for name in names {
            if name.contains(['/', '\\']) {
                return Err(file_error(&index, format!("shard name `{name}` leaves the folder")));
            }
            opened.add_file(&dir.join(name))?;
        }
        Ok(opened)
    }

    fn add_file(&mut self, path: &Path) -> Result<(), ModelError> {
        let file = File::open(path).map_err(|e| file_error(path, e))?;
        // SAFETY: opened for reading only; see `Gguf::open`.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| file_error(path, e))?;
        let truncated = || file_error(path, "the file is truncated; fetch it again");
        let length = map.first_chunk::<8>().map(|b| u64::from_le_bytes(*b)).ok_or_else(truncated)?;
        let data = usize::try_from(length).ok().and_then(|n| n.checked_add(8)).ok_or_else(truncated)?;
        let header = map.get(8..data).ok_or_else(truncated)?;
        let header: HashMap<String, serde_json::Value> =
            serde_json::from_slice(header).map_err(|e| file_error(path, format!("header: {e}")))?;
        for (name, value) in header {
            if name == "__metadata__" {
                continue;
            }
            let entry: HeaderEntry = serde_json::from_value(value)
                .map_err(|e| file_error(path, format!("tensor `{name}`: {e}")))?;
            let (dtype, size) = match entry.dtype.as_str() {
                "F32" => (WeightType::F32, 4),
                "F16" => (WeightType::F16, 2),
                "BF16" => (WeightType::BF16, 2),
                // Position buffers that old exporters left in; nothing asks for them.
                _ if name.ends_with("inv_freq") => continue,
                other => {
                    return Err(ModelError::Unsupported(format!(
                        "tensor `{name}` of type {other}; this version reads F32, F16 and BF16 safetensors"
                    )));
                }
            };
            let bytes = entry.shape.iter().try_fold(size, |a: usize, &d| a.checked_mul(d));
            let [start, end] = entry.data_offsets.map(|o| o.checked_add(data));
            let (Some(start), Some(end)) = (start, end) else { return Err(truncated()) };
            if end > map.len() {
                return Err(truncated());
            }
            if bytes != end.checked_sub(start) {
                return Err(file_error(
                    path,
                    format!("tensor `{name}` has other bytes than its shape asks for"),
                ));
            }
            // What writes stands beside what sees in some models.
            let name =
                match (name.strip_prefix("language_model."), name.strip_prefix("model.language_model.")) {
                    (Some(rest), _) => rest.to_owned(),
                    (None, Some(rest)) => format!("model.{rest}"),
                    (None, None) => name,
                };
            let file = self.files.len();
            self.tensors.insert(name, Entry { file, dtype, shape: entry.shape, start, end });
        }
        self.files.push(map);
        Ok(())
    }

    /// Reads `config.json` of a folder.
    pub fn config(dir: &Path) -> Result<ModelConfig, ModelError> {
        let path = dir.join("config.json");
        families::from_json(&read_text(&path)?).map_err(|error| match error {
            ModelError::Config(reason) => ModelError::File {
                path: path.display().to_string(),
                reason: format!("{reason}; copy it from the repository that the weights are from"),
            },
            error => error,
        })
    }

    /// The element types with how many tensors use each.
    pub fn dtypes(&self) -> Vec<(String, usize)> {
        let mut counts = std::collections::BTreeMap::new();
        for entry in self.tensors.values() {
            *counts.entry(format!("{:?}", entry.dtype)).or_insert(0) += 1;
        }
        counts.into_iter().collect()
    }
}

fn read_text(path: &Path) -> Result<String, ModelError> {
    std::fs::read_to_string(path).map_err(|e| file_error(path, e))
}

fn file_error(path: &Path, reason: impl ToString) -> ModelError {
    ModelError::File { path: path.display().to_string(), reason: reason.to_string() }
}

impl WeightSource for SafetensorsDir {
    fn scheme(&self) -> Scheme {
        Scheme::HuggingFace
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    fn matrix(&self, name: &str) -> Result<MatrixView<'_>, ModelError> {
        let Some(entry) = self.tensors.get(name) else {
            return Err(ModelError::MissingTensor { tensor: name.into(), path: self.shown.clone() });
        };
        let Some((&cols, outer)) = entry.shape.split_last() else {
            return Err(ModelError::Shape { tensor: name.into(), found: vec![], expected: vec![0, 0] });
        };
        let bytes = &self.files[entry.file][entry.start..entry.end];
        Ok(MatrixView::new(entry.dtype, outer.iter().product(), cols, bytes))
    }
}
