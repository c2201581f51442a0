//! `vigor compare`: what cells of runs reach and spend, and where two of them part.

use std::path::PathBuf;

use clap::Args;
use vigor::report::sheet::{markdown_of, text};
use vigor::report::{EvaluationOptions, Study};
use vigor::run::RunError;

use super::exit::{BAD_INPUT, Failure, USAGE};
use super::say::{say, tell};

/// Compare the cells of one or more runs: pass rates with intervals, and what they cost.
#[derive(Args)]
#[command(after_help = "Examples:
  vigor compare runs/gamma
  vigor compare runs/small runs/large --base greedy --page models.html
  vigor compare runs/gamma --task HumanEval/3 --cell greedy --cell 'eg-cfg γ=3'

Runs are matched by task: only tasks that every cell has finished count. With --task, also where two cells part: the
first line that differs, with the candidates and signals of both. docs/comparing.md says what each number means.")]
pub struct Compare {
    /// Folders of runs, of one dataset.
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// The cell that the others are compared with [default: the first].
    #[arg(long, value_name = "CELL")]
    base: Option<String>,
    /// Show where two cells part on this task.
    #[arg(long, value_name = "ID")]
    task: Option<String>,
    /// The two cells, given one after the other [default: the base and the one other].
    #[arg(long, value_name = "CELL", requires = "task")]
    cell: Vec<String>,
    /// File of the page [default: evaluation/comparison.html in the first run's folder].
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Print a line of comma-separated values for each cell.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print Markdown.
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    markdown: bool,
}

pub fn compare(args: &Compare) -> Result<(), Failure> {
    let study = Study::open(&args.runs)?;
    if study.skips() {
        return Err(Failure::message(
            BAD_INPUT,
            "sessions were skipped because an earlier cell had solved their task (stop_when_solved), so the cells have no \
             tasks in common that say anything; use vigor eval",
        ));
    }
    let evaluation = study.evaluate(&EvaluationOptions {
        base: args.base.clone(),
        matched: true,
        ..Default::default()
    })?;
    let parting = match &args.task {
        Some(task) => {
            let (a, b) = two_cells(args, &study, &evaluation.base)?;
            Some(study.parting(task, a, b)?)
        }
        None => None,
    };
    let path = args.page.clone().unwrap_or_else(|| args.runs[0].join("evaluation").join("comparison.html"));
    let folder = path.parent().filter(|_| args.page.is_none());
    let written = folder.map_or(Ok(()), std::fs::create_dir_all);
    written
        .and_then(|()| std::fs::write(&path, evaluation.comparison_page(parting.as_deref())))
        .map_err(|source| RunError::Io { action: "write", path: path.clone(), source })?;

    let sheets = [evaluation.comparison()];
    if args.json {
        say!("{:#}", serde_json::json!(evaluation));
    } else if args.csv {
        evaluation.notes.iter().for_each(|note| tell!("note: {note}"));
        say!("{}", evaluation.csv().trim_end());
    } else if args.markdown {
        say!("{}", markdown_of(&sheets, &evaluation.notes).trim_end());
    } else {
        say!("{}", text(&sheets, &evaluation.notes).trim_end());
    }
    if let Some(parting) = parting.filter(|_| !args.json && !args.csv) {
        say!("\n{}", parting.trim_end());
    }
    tell!("page: {}", path.display());
    Ok(())
}

fn two_cells(args: &Compare, study: &Study, base: &str) -> Result<(usize, usize), Failure> {
    match args.cell.as_slice() {
        [a, b] => Ok((study.setting(a)?, study.setting(b)?)),
        [other] => Ok((study.setting(base)?, study.setting(other)?)),
        [] if study.settings.len() == 2 => {
            let base = study.setting(base)?;
            Ok((base, 1 - base))
        }
        _ => Err(Failure::message(USAGE, "say with --cell A --cell B which two cells to look at")),
    }
}
