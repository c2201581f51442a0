//! Hugging Face folders: `config.json` and one or several `safetensors` files, memory-mapped.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::ModelError;
use super::config::ModelConfig;
use super::cpu::packed::{MatrixView, Scales};
use super::families::{self, Scheme};
use super::quant::WeightType;
use super::weights::{FileBytes, WeightSource, map};

/// The tensors of one folder.
pub struct SafetensorsDir {
    files: Vec<FileBytes>,
    tensors: HashMap<String, Entry>,
    /// Scales of the tensors of 8-bit floats.
    scales: HashMap<String, Vec<f32>>,
    /// Rows and columns that share a scale.
    scale_block: [usize; 2],
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
        let mut opened = Self::empty(&read_text(&dir.join("config.json"))?, dir.display().to_string())?;
        for name in names {
            if name.contains(['/', '\\']) {
                return Err(file_error(&index, format!("shard name `{name}` leaves the folder")));
            }
            let path = dir.join(name);
            opened.add_file(map(&path)?, &path)?;
        }
        opened.read_scales()?;
        Ok(opened)
    }

    fn empty(config: &str, shown: String) -> Result<Self, ModelError> {
        Ok(Self {
            files: Vec::new(),
            tensors: HashMap::new(),
            scales: HashMap::new(),
            scale_block: families::scale_block(config)?,
            shown,
        })
    }

    /// The same from the bytes of one file and the text of a `config.json`.
    pub(super) fn from_bytes(bytes: FileBytes, config: &str) -> Result<Self, ModelError> {
        let mut opened = Self::empty(config, "these bytes".into())?;
        opened.add_file(bytes, Path::new("these bytes"))?;
        opened.read_scales()?;
        Ok(opened)
    }

    /// Reads the scales of the tensors that have any, and holds their number against the tensors' blocks.
    fn read_scales(&mut self) -> Result<(), ModelError> {
        let is_scaled = |entry: &Entry| entry.dtype == WeightType::F8E4M3;
        let scaled = self.tensors.iter().filter(|(_, entry)| is_scaled(entry));
        for name in scaled.map(|(name, _)| name.clone()).collect::<Vec<String>>() {
            let name_of_scales = format!("{name}_scale_inv");
            let (weights, scales) = (self.matrix(&name)?, self.matrix(&name_of_scales)?);
            let [down, across] = self.scale_block;
            let expected = [weights.rows.div_ceil(down), weights.cols.div_ceil(across)];
            if [scales.rows, scales.cols] != expected || scales.dtype == WeightType::F8E4M3 {
                return Err(ModelError::Shape {
                    tensor: name_of_scales,
                    found: vec![scales.rows, scales.cols],
                    expected: expected.to_vec(),
                });
            }
            let mut values = vec![0.0; scales.rows * scales.cols];
            for (row, values) in values.chunks_exact_mut(scales.cols.max(1)).enumerate() {
                scales.row_f32(row, values);
            }
            self.scales.insert(name, values);
        }
        Ok(())
    }

    fn add_file(&mut self, bytes: FileBytes, path: &Path) -> Result<(), ModelError> {
        let truncated = || file_error(path, "the file is truncated; fetch it again");
        let length = bytes.first_chunk::<8>().map(|b| u64::from_le_bytes(*b)).ok_or_else(truncated)?;
        let data = usize::try_from(length).ok().and_then(|n| n.checked_add(8)).ok_or_else(truncated)?;
        let header = bytes.get(8..data).ok_or_else(truncated)?;
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
                "F8_E4M3" => (WeightType::F8E4M3, 1),
                // Position buffers that old exporters left in; nothing asks for them.
                _ if name.ends_with("inv_freq") => continue,
                other => {
                    return Err(ModelError::Unsupported(format!(
                        "tensor `{name}` of type {other}; this version reads F32, F16, BF16 and F8_E4M3 safetensors"
                    )));
                }
            };
            let size = entry.shape.iter().try_fold(size, |a: usize, &d| a.checked_mul(d));
            let [start, end] = entry.data_offsets.map(|o| o.checked_add(data));
            let (Some(start), Some(end)) = (start, end) else { return Err(truncated()) };
            if end > bytes.len() {
                return Err(truncated());
            }
            if size != end.checked_sub(start) {
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
        self.files.push(bytes);
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

    /// The names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.tensors.keys()
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

    fn release(&self, view: &MatrixView<'_>) {
        self.files.iter().for_each(|file| file.release(view.bytes));
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
        let view = MatrixView::new(entry.dtype, outer.iter().product(), cols, bytes);
        let scales = self.scales.get(name).map(|values| Scales {
            values,
            across: cols.div_ceil(self.scale_block[1]),
            block: self.scale_block,
            first: 0,
        });
        Ok(MatrixView { scales, ..view })
    }
}
