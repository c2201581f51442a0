//! Models and datasets by name: manifests, fetching, verification and the cache. See `docs/sources.md`.
//!
//! A name becomes files on disk in this order: a path that exists; our cache; the sources that the manifest lists.
//! Every file is checked against the manifest's SHA-256 before it is used, so a source needs no trust.

mod digest;
mod error;
mod here;
mod hub;
mod local;
mod manifest;
mod named;
mod places;
mod progress;
mod resolve;
mod store;
mod wheel;

pub use digest::{sha256_bytes, sha256_file};
pub use error::{Attempt, SourceError};
pub use here::{FileHere, Here, Rehashed, here, located, verify};
pub use manifest::{
    Chat, FileEntry, Format, Golden, Kind, Manifest, Source, manifests, read as read_manifest,
};
pub use places::Places;
pub use progress::{Phase, Progress, ProgressFn, silent};
pub use resolve::{FetchOptions, Origin, Resolved, ResolvedFile, default_name, resolve, resolve_in};
