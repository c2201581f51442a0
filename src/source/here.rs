//! What is on disk already, found without hashing or fetching anything; and the same files hashed again.

use std::fs;
use std::path::{Path, PathBuf};

use super::digest::Stamps;
use super::local;
use super::manifest::FileEntry;
use super::named::{Named, named};
use super::progress::ProgressFn;
use super::resolve::{complete_snapshot, hub_copies, not_in_cache, not_in_hub_cache};
use super::{Attempt, Kind, Manifest, Places, SourceError};

/// An item on disk, as it lies there: its files need not be what its manifest says.
#[derive(Debug, Clone)]
pub struct Here {
    /// The manifest's name, or what the user typed.
    pub name: String,
    /// The file, or the folder of an item of several files.
    pub path: PathBuf,
    /// Its files.
    pub files: Vec<FileHere>,
    /// The manifest, for an item that has one.
    pub manifest: Option<Manifest>,
}

/// One file of an item on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHere {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, if it has been hashed before and has not changed since.
    pub sha256: Option<String>,
    /// The SHA-256 that its manifest gives it.
    pub pinned: Option<String>,
}

impl FileHere {
    fn at(path: PathBuf, pinned: Option<&FileEntry>, stamps: &Stamps) -> Result<Self, SourceError> {
        let bytes = fs::metadata(&path).map_err(|e| SourceError::io("read", &path, e))?.len();
        let sha256 = stamps.remembered(&path);
        Ok(Self { path, bytes, sha256, pinned: pinned.map(|entry| entry.sha256.clone()) })
    }

    fn is_verified(&self) -> bool {
        self.sha256.is_some() && self.sha256 == self.pinned
    }
}

/// Finds an item that is here. Hashes and fetches nothing.
///
/// # Errors
/// [`SourceError`]: an unknown name, a path that holds no such item, or an item that is not here.
pub fn here(name_or_path: &str, kind: Kind) -> Result<Here, SourceError> {
    let places = Places::from_env()?;
    let stamps = Stamps::new(places.stamps());
    let missing = |attempt: Attempt| SourceError::Unavailable {
        kind,
        name: name_or_path.to_owned(),
        attempts: vec![attempt],
        remedy: format!("Fetch it: vigor pull {name_or_path}"),
    };
    let path = match named(name_or_path, kind, &places)? {
        Named::Path(path) => path,
        Named::Known(manifest) => {
            let folder = places.item(kind, &manifest.name);
            let files = files_of(&manifest, &places, &stamps)
                .map_err(|entry| missing(not_in_cache(&folder, &entry.name)))?;
            let path = place_of(&files);
            return Ok(Here { name: manifest.name.clone(), path, files, manifest: Some(*manifest) });
        }
        Named::Repository(hub) => {
            complete_snapshot(&hub, &places).ok_or_else(|| missing(not_in_hub_cache(&hub)))?
        }
        Named::File(hub, file) => {
            let copy = hub.cached(&places, &file).into_iter().next();
            copy.ok_or_else(|| missing(not_in_hub_cache(&hub)))?
        }
    };
    let (path, paths) = local::files(&path, kind)?;
    let files = paths.into_iter().map(|path| FileHere::at(path, None, &stamps)).collect::<Result<_, _>>()?;
    Ok(Here { name: name_or_path.to_owned(), path, files, manifest: None })
}

/// Where a manifest's item is on disk if it has been fetched and verified before. Hashes and fetches nothing.
pub fn located(manifest: &Manifest, places: &Places) -> Option<PathBuf> {
    let files = files_of(manifest, places, &Stamps::new(places.stamps())).ok()?;
    files.iter().all(FileHere::is_verified).then(|| place_of(&files))
}

/// The files of a manifest that are on disk, or the first that is not.
fn files_of<'a>(
    manifest: &'a Manifest,
    places: &Places,
    stamps: &Stamps,
) -> Result<Vec<FileHere>, &'a FileEntry> {
    let folder = places.item(manifest.kind, &manifest.name);
    let file = |entry: &'a FileEntry| {
        let mut copies = vec![folder.join(&entry.name)];
        copies.extend(hub_copies(manifest, entry, places));
        let mut copies: Vec<FileHere> =
            copies.into_iter().filter_map(|path| FileHere::at(path, Some(entry), stamps).ok()).collect();
        // One that was verified is the one that is used; among the others the first.
        let best = copies.iter().position(FileHere::is_verified).unwrap_or(0);
        if copies.is_empty() { Err(entry) } else { Ok(copies.swap_remove(best)) }
    };
    manifest.files.iter().map(file).collect()
}

/// The only file, or the folder of several.
fn place_of(files: &[FileHere]) -> PathBuf {
    match files {
        [one] => one.path.clone(),
        several => {
            several.first().and_then(|file| file.path.parent()).map(Path::to_path_buf).unwrap_or_default()
        }
    }
}

/// A file that was hashed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehashed {
    /// Where it is.
    pub path: PathBuf,
    /// Its SHA-256.
    pub sha256: String,
    /// What it should be: by the manifest, or else as it was when it was last hashed. `None`: nothing says so.
    pub wanted: Option<String>,
}

impl Rehashed {
    /// Whether the file is what it should be.
    ///
    /// # Errors
    /// [`SourceError::Corrupt`] with both hashes.
    pub fn check(&self) -> Result<(), SourceError> {
        match &self.wanted {
            Some(wanted) if *wanted != self.sha256 => {
                let why = format!(
                    "its sha256 is {}, it should be {wanted}. Delete the file and fetch it again",
                    self.sha256
                );
                Err(SourceError::Corrupt { path: self.path.clone(), why })
            }
            _ => Ok(()),
        }
    }
}

/// Hashes every file of an item again, whatever was remembered. Fetches, changes and deletes nothing.
///
/// # Errors
/// As [`here`]. Files that are not what they should be are no error: see [`Rehashed::check`].
pub fn verify(
    name_or_path: &str,
    kind: Kind,
    progress: &ProgressFn<'_>,
) -> Result<Vec<Rehashed>, SourceError> {
    let stamps = Stamps::new(Places::from_env()?.stamps());
    let again = |file: FileHere| {
        let sha256 = stamps.rehash(&file.path, progress)?;
        Ok(Rehashed { path: file.path, sha256, wanted: file.pinned.or(file.sha256) })
    };
    here(name_or_path, kind)?.files.into_iter().map(again).collect()
}
