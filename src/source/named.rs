//! What a name means: a path, an item that a manifest describes, a repository of the hub or a file of one.

use std::path::{Path, PathBuf};

use super::hub::HubRepo;
use super::manifest::{is_repo, manifests, read};
use super::{Kind, Manifest, Places, SourceError};

/// A name, understood. Nothing but manifests has been looked at yet.
pub(super) enum Named {
    /// A path that exists.
    Path(PathBuf),
    /// What this manifest describes.
    Known(Box<Manifest>),
    /// A model repository.
    Repository(HubRepo),
    /// A file of a repository.
    File(HubRepo, String),
}

/// Understands what a user typed.
///
/// # Errors
/// [`SourceError`]: an unknown name, or a manifest that cannot be used or describes the other kind.
pub(super) fn named(name: &str, kind: Kind, places: &Places) -> Result<Named, SourceError> {
    let mut known = manifests(kind, places)?;
    let manifest = known.iter().position(|manifest| manifest.is_called(name));
    let path = Path::new(name);
    // A bare name that we know is not hidden by a folder that happens to be called so; `./name` means the folder.
    if path.exists() && !(manifest.is_some() && path.is_dir()) {
        if path.extension().is_some_and(|extension| extension == "toml") {
            let manifest = read(path)?;
            if manifest.kind != kind {
                let why = format!("the manifest describes a {}, not a {kind}", manifest.kind);
                return Err(SourceError::Unusable { path: path.to_path_buf(), why });
            }
            return Ok(Named::Known(Box::new(manifest)));
        }
        return Ok(Named::Path(path.to_path_buf()));
    }
    if let Some(index) = manifest {
        return Ok(Named::Known(Box::new(known.swap_remove(index))));
    }
    // What looks like a path but is none deserves that answer, not a question to the hub.
    let looks_like_file = path.is_absolute() || name.starts_with('.') || name.ends_with(".toml");
    let (id, revision) = name.split_once('@').unwrap_or((name, "main"));
    let hub = |id: &str, revision: &str| HubRepo { kind, id: id.to_owned(), revision: revision.to_owned() };
    if !looks_like_file && is_repo(id) && !revision.is_empty() && kind == Kind::Model {
        return Ok(Named::Repository(hub(id, revision)));
    }
    if !looks_like_file && let Some((repo, file)) = split_file(name) {
        return Ok(Named::File(hub(repo, "main"), file.to_owned()));
    }
    let names: Vec<&str> = known.iter().map(|manifest| manifest.name.as_str()).collect();
    Err(SourceError::Unknown { kind, name: name.to_owned(), known: names.join(", ") })
}

/// Splits `owner/name/folder/file` into repository and file.
fn split_file(name: &str) -> Option<(&str, &str)> {
    let slash = name.match_indices('/').nth(1)?.0;
    let (repo, file) = (&name[..slash], &name[slash + 1..]);
    let inside = !file.is_empty() && file.split('/').all(|part| !part.is_empty() && part != "..");
    (is_repo(repo) && inside).then_some((repo, file))
}
