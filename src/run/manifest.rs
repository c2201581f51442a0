//! `run_manifest.json`: what a run was made of, and on what it ran.
//!
//! Two kinds of facts. Those that the results depend on (configuration, hashes, tasks, cells, seed) are
//! fixed when the run begins: a folder can be resumed only with the same. Those that only speed depends on
//! (threads, device, sandbox layers, binary …) may differ each time the run is resumed; each time adds a
//! [`Part`], so that a reader sees which machine computed what.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::config::RunConfig;
use super::error::RunError;
use super::grid::Cell;
use crate::task::Task;

/// Version of the manifest's schema; a reader refuses a newer one. A run of which some sessions may be skipped is of
/// version 3, as older readers would count these; any other is still of version 2.
pub const MANIFEST_SCHEMA: u32 = 3;

/// The manifest's file name in the folder of a run.
pub const MANIFEST_FILE: &str = "run_manifest.json";

/// What a run was made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunManifest {
    /// The lowest [`MANIFEST_SCHEMA`] that has all that the run uses.
    pub schema: u32,
    /// The run's name.
    pub name: String,
    /// Seed of all randomness, in cells that name no other.
    pub seed: u64,
    /// The decisive part of the configuration ([`RunConfig::decisive`]).
    pub configuration: Value,
    /// The model.
    pub model: ModelInfo,
    /// The dataset.
    pub dataset: DatasetInfo,
    /// The tasks of the run, in order.
    pub task_ids: Vec<String>,
    /// The cells of the grid, in order. Session `i` is task `i / cells` in cell `i % cells`.
    pub cells: Vec<Cell>,
    /// What ran it: one entry each time it was started or resumed.
    pub parts: Vec<Part>,
}

/// The model of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Its name.
    pub name: String,
    /// Name of its file, without the folder.
    pub file: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Architecture, for example `qwen2`.
    pub architecture: String,
    /// Quantization of its weights, for example `Q4_K_M`.
    pub quantization: String,
    /// What it is computed with, as far as results depend on it: `cpu`, or the kind of GPU (`cuda sm_90`).
    #[serde(default = "arithmetic_of_cpu")]
    pub arithmetic: String,
}

/// That of every processor, and of runs from before there was another.
pub(super) fn arithmetic_of_cpu() -> String {
    "cpu".to_owned()
}

/// The dataset of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetInfo {
    /// Its name.
    pub name: String,
    /// SHA-256 of its files, in hexadecimal.
    pub sha256: String,
    /// Number of tasks in it, selected or not.
    pub tasks: usize,
}

/// What computed a part of a run. None of it may change a result; the kind of arithmetic, which does, is in
/// [`ModelInfo`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Name of the process among those that shared the run (`HOST.PID.NUMBER`); empty in manifests from before they
    /// could.
    #[serde(default)]
    pub process: String,
    /// Number of sessions that were finished when this part began.
    pub finished_before: usize,
    /// Version of vigor.
    pub vigor: String,
    /// SHA-256 of the binary, in hexadecimal.
    pub binary_sha256: String,
    /// The device that computed the model, for example `cpu`.
    pub device: String,
    /// Threads that computed the model.
    pub threads: usize,
    /// Vector instructions in use, for example `avx2`.
    pub simd: String,
    /// Sessions at once.
    pub concurrency: usize,
    /// Layers of the sandbox that were active.
    pub sandbox: Vec<String>,
    /// Version of the Python that ran the programs.
    pub python: String,
}

impl RunManifest {
    /// The manifest of a run that begins now, on the machine that `part` describes.
    pub fn new(
        config: &RunConfig,
        model: ModelInfo,
        dataset: DatasetInfo,
        tasks: &[Task],
        part: Part,
    ) -> Self {
        Self {
            schema: if config.run.stop_when_solved.is_some() { MANIFEST_SCHEMA } else { 2 },
            name: config.run.name.clone(),
            seed: config.run.seed.first(),
            configuration: config.decisive(),
            model,
            dataset,
            task_ids: tasks.iter().map(|task| task.id.clone()).collect(),
            cells: config.cells().to_vec(),
            parts: vec![part],
        }
    }

    /// Number of sessions of the run.
    pub fn sessions(&self) -> usize {
        self.task_ids.len() * self.cells.len()
    }

    /// Seed of the sessions of a cell.
    pub fn seed_of(&self, cell: &Cell) -> u64 {
        cell.seed.unwrap_or(self.seed)
    }

    /// Session `index` for a reader: its task and its cell.
    pub fn session_name(&self, index: usize) -> String {
        let (task, cell) = (index / self.cells.len(), index % self.cells.len());
        format!("{} · {}", self.task_ids[task], self.cells[cell].name)
    }

    /// Reads the manifest of the run in folder `dir`.
    ///
    /// # Errors
    /// When it cannot be read, is malformed, or was written in a newer schema.
    pub fn load(dir: &Path) -> Result<Self, RunError> {
        let path = dir.join(MANIFEST_FILE);
        let text = std::fs::read_to_string(&path).map_err(|e| RunError::io("read", &path, e))?;
        let malformed = |source| RunError::Malformed { path: path.clone(), line: 0, source };
        let value: Value = serde_json::from_str(&text).map_err(malformed)?;
        // The version is looked at first: a newer file need not fit this version's type.
        let schema = value.get("schema").and_then(Value::as_u64).unwrap_or(0);
        if schema > u64::from(MANIFEST_SCHEMA) {
            return Err(RunError::NewerSchema { path, found: schema, known: MANIFEST_SCHEMA });
        }
        serde_json::from_value(value).map_err(malformed)
    }

    /// The first decisive fact in which `self`, on disk, differs from `given`: its key, and both values.
    pub(super) fn difference(&self, given: &Self) -> Option<(String, String, String)> {
        let decisive = |m: &Self| {
            // Of the cells what they mean counts: a manifest from before there was a parameter has its default.
            let mut configuration = m.configuration.clone();
            if let Some(configuration) = configuration.as_object_mut() {
                configuration.shift_remove("cells");
            }
            serde_json::json!({
                "configuration": configuration,
                "seed": m.seed,
                // The file's name may change; its content may not.
                "model": { "sha256": m.model.sha256, "arithmetic": m.model.arithmetic },
                "dataset": { "name": m.dataset.name, "sha256": m.dataset.sha256 },
                "cells": m.cells,
                "task_ids": m.task_ids,
            })
        };
        // Through text, so that a number read back from the file is compared with its like.
        let normal = |value: Value| serde_json::from_str(&value.to_string()).unwrap_or(value);
        first_difference("", &normal(decisive(self)), &normal(decisive(given)))
    }
}

fn first_difference(at: &str, old: &Value, new: &Value) -> Option<(String, String, String)> {
    let join = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            let absent = Value::Null;
            keys.filter_map(|key| {
                let (old, new) = (a.get(key).unwrap_or(&absent), b.get(key).unwrap_or(&absent));
                first_difference(&join(key), old, new)
            })
            .next()
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(i, (old, new))| first_difference(&format!("{at}[{i}]"), old, new)),
        (Value::Array(a), Value::Array(b)) => {
            Some((at.to_owned(), format!("{} entries", a.len()), format!("{} entries", b.len())))
        }
        _ if old == new => None,
        _ => Some((at.to_owned(), shorten(old), shorten(new))),
    }
}

fn shorten(value: &Value) -> String {
    let text = if value.is_null() { "nothing".to_owned() } else { value.to_string() };
    match text.char_indices().nth(120) {
        Some((cut, _)) => format!("{} …", &text[..cut]),
        None => text,
    }
}

/// SHA-256 of a file, in hexadecimal, read in pieces.
///
/// # Errors
/// When the file cannot be read.
pub fn sha256_file(path: &Path) -> Result<String, RunError> {
    let fail = |e| RunError::io("read", path, e);
    let mut file = File::open(path).map_err(fail)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(fail)? {
            0 => break,
            length => hasher.update(&buffer[..length]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// SHA-256 of the running binary, in hexadecimal.
///
/// # Errors
/// When the system does not say where the binary is, or it cannot be read.
pub fn binary_sha256() -> Result<String, RunError> {
    let path =
        std::env::current_exe().map_err(|e| RunError::io("find", &PathBuf::from("the running binary"), e))?;
    sha256_file(&path)
}
