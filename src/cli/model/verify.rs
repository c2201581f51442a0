//! `vigor model verify`: hashes a model's files again.

use clap::Args;
use vigor::source::{Kind, SourceError, verify as rehash};

use super::super::exit::Failure;
use super::super::progress::Downloads;
use super::super::say::say;

/// Hash a model's files again, and compare them with the manifest.
#[derive(Args)]
#[command(after_help = "Examples:
  vigor model verify coder0.5b
  vigor model verify coder0.5b smollm2

Files without a manifest are compared with what they were when they were last hashed.
Nothing is fetched, and nothing deleted.
Exits with 3 when a file is not what it should be, with 4 when a model is not here.")]
pub struct Verify {
    /// Names or paths of models.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

pub fn verify(args: &Verify) -> Result<(), Failure> {
    let mut wrong: Option<SourceError> = None;
    for name in &args.names {
        let downloads = Downloads::new();
        let files = rehash(name, Kind::Model, &|progress| downloads.show(progress));
        downloads.finish();
        for file in files? {
            let result = file.check();
            let mark = if result.is_ok() { "✓" } else { "✗" };
            let note = if file.wanted.is_none() { "  (nothing to compare with)" } else { "" };
            say!("{mark} {}  {}{note}", file.sha256, file.path.display());
            wrong = wrong.or(result.err());
        }
    }
    wrong.map_or(Ok(()), |error| Err(error.into()))
}
