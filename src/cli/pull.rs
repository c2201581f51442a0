//! `vigor pull`: fetches models and datasets.

use std::path::PathBuf;

use clap::Args;
use vigor::source::{FetchOptions, Kind, Manifest, Places, default_name, located, manifests, resolve};

use super::exit::Failure;
use super::progress::Downloads;
use super::say::say;

/// Fetch a model or a dataset, and check it.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  vigor pull                 the default model and dataset\n  vigor pull smollm2         one model\n  vigor pull --list          what there is, and what is here already"
)]
pub struct Pull {
    /// Names of models or datasets; none means the defaults.
    names: Vec<String>,
    /// List what can be pulled.
    #[arg(long)]
    list: bool,
}

pub fn pull(args: &Pull) -> Result<(), Failure> {
    let places = Places::from_env()?;
    if args.list {
        for kind in [Kind::Model, Kind::Dataset] {
            known(kind, &places)?.iter().for_each(Known::print);
        }
        return Ok(());
    }
    let mut wanted: Vec<(&str, Kind)> = Vec::new();
    if args.names.is_empty() {
        wanted.extend([Kind::Model, Kind::Dataset].map(|kind| (default_name(kind), kind)));
    }
    for name in &args.names {
        let is_dataset = manifests(Kind::Dataset, &places)?.iter().any(|m| m.is_called(name));
        wanted.push((name, if is_dataset { Kind::Dataset } else { Kind::Model }));
    }
    wanted.into_iter().try_for_each(|(name, kind)| fetch(name, kind))
}

/// An item that can be pulled.
pub struct Known {
    pub manifest: Manifest,
    /// Where it is, if it is here.
    pub path: Option<PathBuf>,
}

/// All items that can be pulled.
pub fn known(kind: Kind, places: &Places) -> Result<Vec<Known>, Failure> {
    let with_path = |manifest: Manifest| Known { path: located(&manifest, places), manifest };
    Ok(manifests(kind, places)?.into_iter().map(with_path).collect())
}

impl Known {
    /// One line: kind, name, size, whether it is here, what it is.
    pub fn print(&self) {
        let Known { manifest, path } = self;
        let size = manifest.bytes() as f64 / 1e6;
        let mark = if path.is_some() { "here" } else { "    " };
        let kind = manifest.kind.to_string();
        say!("{kind:<8} {:<32} {size:>8.1} MB  {mark}  {}", manifest.name, manifest.title);
    }
}

/// Fetches an item where that is needed, and tells where it is.
pub fn fetch(name: &str, kind: Kind) -> Result<(), Failure> {
    let downloads = Downloads::new();
    let report = |progress: vigor::source::Progress<'_>| downloads.show(progress);
    let result = resolve(name, kind, &FetchOptions { offline: false, progress: &report });
    downloads.finish();
    let found = result?;
    say!("{kind} {}: {} (sha256 {})", found.name, found.path.display(), found.sha256);
    Ok(())
}
