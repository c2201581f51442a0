//! Models and datasets that the user gives as a path.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Kind, SourceError};

/// The files that make up the item at `path`, or why it is none.
///
/// A model is a GGUF file, a folder with exactly one, or a folder with `config.json`, `tokenizer.json` and
/// safetensors. A dataset is any file, or any folder (its adapter knows what belongs in it).
pub(super) fn files(path: &Path, kind: Kind) -> Result<(PathBuf, Vec<PathBuf>), SourceError> {
    let unusable = |why: String| SourceError::Unusable { path: path.to_path_buf(), why };
    match (kind, path.is_dir()) {
        (Kind::Dataset, false) => Ok((path.to_path_buf(), vec![path.to_path_buf()])),
        (Kind::Dataset, true) => {
            let files = below(path)?;
            if files.is_empty() {
                return Err(unusable("the folder is empty".to_owned()));
            }
            Ok((path.to_path_buf(), files))
        }
        (Kind::Model, false) => {
            check_gguf(path)?;
            Ok((path.to_path_buf(), vec![path.to_path_buf()]))
        }
        (Kind::Model, true) => model_folder(path).map_err(unusable),
    }
}

/// The files of a model's folder, or which of them are missing.
pub(super) fn model_folder(folder: &Path) -> Result<(PathBuf, Vec<PathBuf>), String> {
    let named = |extension: &str| {
        let mut paths: Vec<PathBuf> = fs::read_dir(folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|e| e == extension))
            .collect();
        paths.sort();
        paths
    };
    let weights = named("safetensors");
    if weights.is_empty() {
        let gguf = named("gguf");
        return match gguf.as_slice() {
            [one] => Ok((one.clone(), gguf.clone())),
            [] => Err(
                "the folder has neither a GGUF file nor safetensors; a model is one .gguf file, or a folder \
                       with config.json, tokenizer.json and *.safetensors"
                    .to_owned(),
            ),
            several => Err(format!("the folder has {} GGUF files; name one of them", several.len())),
        };
    }
    let mut files = Vec::new();
    for name in ["config.json", "tokenizer.json"] {
        let path = folder.join(name);
        if !path.is_file() {
            return Err(format!(
                "the folder has safetensors but no {name}; copy it from the same repository"
            ));
        }
        files.push(path);
    }
    let index = folder.join("model.safetensors.index.json");
    if index.is_file() {
        let parts = shards(&index)?;
        if let Some(missing) = parts.iter().find(|part| !folder.join(part).is_file()) {
            return Err(format!("model.safetensors.index.json lists {missing}, which is not in the folder"));
        }
        files.push(index);
        files.extend(parts.iter().map(|part| folder.join(part)));
    } else {
        files.extend(weights);
    }
    let optional = ["generation_config.json", "tokenizer_config.json", "special_tokens_map.json"];
    files.extend(optional.iter().map(|name| folder.join(name)).filter(|path| path.is_file()));
    files.extend(Some(folder.join("chat_template.jinja")).filter(|path| path.is_file()));
    Ok((folder.to_path_buf(), files))
}

/// Names of the weight files that an index lists, each once, in order.
fn shards(index: &Path) -> Result<Vec<String>, String> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    let bytes = fs::read(index).map_err(|e| format!("model.safetensors.index.json cannot be read ({e})"))?;
    let index: Index = serde_json::from_slice(&bytes)
        .map_err(|e| format!("model.safetensors.index.json is not an index of weights ({e})"))?;
    let mut names: Vec<String> = index.weight_map.into_values().collect();
    names.sort();
    names.dedup();
    match names.iter().find(|name| name.contains(['/', '\\'])) {
        Some(bad) => {
            Err(format!("model.safetensors.index.json lists `{bad}`, which is outside of the folder"))
        }
        None => Ok(names),
    }
}

fn check_gguf(path: &Path) -> Result<(), SourceError> {
    let mut magic = Vec::new();
    let file = File::open(path).map_err(|e| SourceError::io("open", path, e))?;
    file.take(4).read_to_end(&mut magic).map_err(|e| SourceError::io("read", path, e))?;
    if magic == *b"GGUF" {
        return Ok(());
    }
    let why = match path.extension().and_then(|extension| extension.to_str()) {
        Some("safetensors") => {
            "a safetensors file alone is no model; give the folder that holds it, with its \
                                config.json and tokenizer.json"
                .to_owned()
        }
        _ if magic == *b"GGML" || magic == *b"tjgg" || magic == *b"lmgg" => {
            "this is an old GGML file; convert it to GGUF".to_owned()
        }
        _ => format!(
            "this is no GGUF file (it begins with {:?}); a model is one .gguf file, or a folder with config.json, \
             tokenizer.json and *.safetensors",
            String::from_utf8_lossy(&magic)
        ),
    };
    Err(SourceError::Unusable { path: path.to_path_buf(), why })
}

/// All files below a folder, by path; links that lead to folders are not followed.
fn below(folder: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|e| SourceError::io("read", &folder, e))?;
        for entry in entries {
            let entry = entry.map_err(|e| SourceError::io("read", &folder, e))?;
            let kind = entry.file_type().map_err(|e| SourceError::io("read", &entry.path(), e))?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if entry.path().is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::super::store::tests::Scratch;
    use super::*;

    #[test]
    fn a_model_folder_says_what_it_lacks() {
        let scratch = Scratch::new("local");
        let folder = scratch.path("m");
        fs::create_dir(&folder).unwrap();
        let put = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
        let error = || files(&folder, Kind::Model).unwrap_err().to_string();
        assert!(error().contains("neither"), "{}", error());
        put("a.gguf", "GGUF");
        assert_eq!(files(&folder, Kind::Model).unwrap().0, folder.join("a.gguf"));
        put("b.gguf", "GGUF");
        assert!(error().contains("2 GGUF files"), "{}", error());
        put("model-1.safetensors", "");
        assert!(error().contains("no config.json"), "{}", error());
        put("config.json", "{}");
        put("tokenizer.json", "{}");
        assert_eq!(files(&folder, Kind::Model).unwrap().1.len(), 3);
        put(
            "model.safetensors.index.json",
            r#"{"weight_map":{"x":"model-1.safetensors","y":"model-2.safetensors"}}"#,
        );
        assert!(error().contains("lists model-2.safetensors"), "{}", error());
        put("model-2.safetensors", "");
        assert_eq!(files(&folder, Kind::Model).unwrap().1.len(), 5);
        put("model.safetensors.index.json", r#"{"weight_map":{"x":"../../etc/passwd"}}"#);
        assert!(error().contains("outside"), "{}", error());
    }

    #[test]
    fn a_file_is_a_model_only_with_the_magic() {
        let scratch = Scratch::new("magic");
        for (name, bytes, says) in [
            ("a.gguf", "<html>", "no GGUF file (it begins with \"<htm\")"),
            ("b.safetensors", "x", "give the folder"),
            ("c.bin", "tjgg", "old GGML"),
            ("d.gguf", "", "no GGUF file"),
        ] {
            fs::write(scratch.path(name), bytes).unwrap();
            let error = files(&scratch.path(name), Kind::Model).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
