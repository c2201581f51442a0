//! `vigor report`: tables and pages of a run.

use std::path::PathBuf;

use clap::Args;

use super::exit::Failure;
use super::say::{say, tell};

/// Make the tables and pages of a run, finished or not.
#[derive(Args)]
#[command(after_help = "Example:\n  vigor report runs/demo")]
pub struct Report {
    /// Folder of the run.
    run: PathBuf,
}

pub fn report(args: &Report) -> Result<(), Failure> {
    let paths = vigor::report::report(&args.run)?;
    print(&paths);
    Ok(())
}

/// Prints the table and says where the pages are.
pub fn print(paths: &vigor::report::ReportPaths) {
    for warning in &paths.warnings {
        tell!("note: {warning}");
    }
    say!("{}", paths.table.text());
    say!("page: {}", paths.overview.display());
}
