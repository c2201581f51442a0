//! `vigor pull`: fetches models and datasets.

use clap::Args;
use vigor::source::{FetchOptions, Kind, Places, SourceError, manifests, resolve};

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
            for manifest in manifests(kind, &places)? {
                let here = vigor::source::located(&manifest, &places).is_some();
                let size = manifest.bytes() as f64 / 1e6;
                let mark = if here { "here" } else { "    " };
                say!(
                    "{:<8} {:<32} {size:>8.1} MB  {mark}  {}",
                    kind.to_string(),
                    manifest.name,
                    manifest.title
                );
            }
        }
        return Ok(());
    }
    let mut wanted: Vec<(String, Kind)> = Vec::new();
    if args.names.is_empty() {
        for kind in [Kind::Model, Kind::Dataset] {
            wanted.push((vigor::source::default_name(kind).to_owned(), kind));
        }
    }
    for name in &args.names {
        let is_dataset = manifests(Kind::Dataset, &places)?.iter().any(|m| m.is_called(name));
        wanted.push((name.clone(), if is_dataset { Kind::Dataset } else { Kind::Model }));
    }
    for (name, kind) in wanted {
        let downloads = Downloads::new();
        let report = |progress: vigor::source::Progress<'_>| downloads.show(progress);
        let result: Result<_, SourceError> =
            resolve(&name, kind, &FetchOptions { offline: false, progress: &report });
        downloads.finish();
        let found = result?;
        say!("{kind} {}: {} (sha256 {})", found.name, found.path.display(), found.sha256);
    }
    Ok(())
}
