//! `vigor diff`: where the traces of two runs differ.

use std::path::PathBuf;

use clap::Args;
use vigor::report::sheet::one_line;
use vigor::report::trace_diff::{Asked, diff as diff_runs};

use super::exit::{FAILURE, Failure, USAGE};
use super::say::{say, tell};

/// Compare the traces of two runs session by session, and say in which step each first differs.
#[derive(Args)]
#[command(after_help = "Examples:
  vigor diff runs/before runs/after
  vigor diff runs/before runs/after --task HumanEval/3 --cell greedy
  vigor diff runs/gamma runs/gamma --cell 'eg-cfg γ=1' --cell 'eg-cfg γ=3'

Sessions are matched by task and by the name of their cell. Exit code 1: some differ.")]
pub struct Diff {
    /// Folder of the first run.
    a: PathBuf,
    /// Folder of the second run.
    b: PathBuf,
    /// Only this task.
    #[arg(long, value_name = "ID")]
    task: Option<String>,
    /// Only this cell; given twice, the cell of the first run and that of the second.
    #[arg(long, value_name = "CELL")]
    cell: Vec<String>,
}

pub fn diff(args: &Diff) -> Result<(), Failure> {
    let cells = match args.cell.as_slice() {
        [] => None,
        [both] => Some((both.clone(), both.clone())),
        [a, b] => Some((a.clone(), b.clone())),
        _ => return Err(Failure::message(USAGE, "--cell is given twice at most")),
    };
    let asked = Asked { task: args.task.clone(), cells };
    let outcome = diff_runs(&args.a, &args.b, &asked, |session, difference| {
        let step = difference.step.map_or_else(String::new, |step| format!(", step {step}"));
        say!("{}{step}", one_line(session));
        for aspect in &difference.aspects {
            say!("  {}\n    - {}\n    + {}", aspect.what, aspect.a, aspect.b);
        }
    })?;
    for warning in &outcome.warnings {
        tell!("note: {warning}");
    }
    say!("{} sessions compared, {} differ", outcome.compared, outcome.differ);
    if outcome.differ > 0 {
        return Err(Failure::message(
            FAILURE,
            format!(
                "the traces of {} and {} differ in the sessions above",
                args.a.display(),
                args.b.display()
            ),
        ));
    }
    Ok(())
}
