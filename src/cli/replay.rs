//! `vigor replay`: derives every decision of a run again, without the model.

use std::path::PathBuf;

use clap::Args;
use vigor::report::{RunFiles, replay_run};

use super::exit::{FAILURE, Failure};
use super::say::say;

/// Derive every decision of a run again from its trace alone, and say where it differs.
#[derive(Args)]
#[command(after_help = "Example:\n  vigor replay runs/demo")]
pub struct Replay {
    /// Folder of the run.
    run: PathBuf,
}

pub fn replay(args: &Replay) -> Result<(), Failure> {
    let run = RunFiles::load(&args.run)?;
    let replayed = replay_run(&run)?;
    for (session, difference) in &replayed.differences {
        let step = difference.step.map_or_else(String::new, |s| format!(" step {s}"));
        say!("{}{step}: {}", run.manifest.session_name(*session), difference.what);
    }
    let differences = replayed.differences.len();
    let skipped = match replayed.skipped {
        0 => String::new(),
        skipped => format!(", {skipped} skipped"),
    };
    say!(
        "{} sessions{skipped}, {} decisions derived again, {differences} differences",
        replayed.sessions,
        replayed.decisions
    );
    if differences > 0 {
        return Err(Failure::message(
            FAILURE,
            format!(
                "{}: the trace does not lead to what was recorded; the steps above were changed, or written by another version",
                args.run.display()
            ),
        ));
    }
    Ok(())
}
