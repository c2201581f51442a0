//! `vigor merge`: folders of one experiment become one.

use std::path::PathBuf;

use clap::Args;

use super::exit::Failure;
use super::say::say;

/// Put folders of one experiment together: the shares of a run, or parts of it.
#[derive(Args)]
#[command(after_help = "\
Example, a run on two machines that share no folder:
  vigor run mine.toml --shard 0/2 --out a     on one
  vigor run mine.toml --shard 1/2 --out b     on the other
  vigor merge runs/mine a b                   the same results.jsonl and trace.jsonl as without shares")]
pub struct Merge {
    /// Folder for the whole; what it holds already stays.
    out: PathBuf,
    /// Folders to take finished sessions from; nothing in them is changed.
    #[arg(required = true)]
    run: Vec<PathBuf>,
}

pub fn merge(args: &Merge) -> Result<(), Failure> {
    let merged = vigor::run::merge(&args.out, &args.run)?;
    let paths = vigor::report::report(&args.out)?;
    super::report::print(&paths);
    say!("run:  {}", args.out.display());
    say!("{} sessions added; {} of {} are there", merged.added, merged.finished, merged.sessions);
    Ok(())
}
