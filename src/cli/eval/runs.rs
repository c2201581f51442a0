//! The numbers of runs, from their files.

use std::path::Path;

use clap::{Args, ValueEnum};
use vigor::report::export::{Format, export};
use vigor::report::sheet::{markdown_of, text};
use vigor::report::{EvaluationOptions, Study};
use vigor::task::Task;

use super::{Eval, tasks};
use crate::cli::common::one_or_more;
use crate::cli::exit::{BAD_INPUT, Failure, USAGE};
use crate::cli::say::{say, tell};

/// What is asked of runs.
#[derive(Args)]
#[command(next_help_heading = "Runs")]
pub struct OfRuns {
    /// The cell that the others are compared with [default: the first].
    #[arg(long, conflicts_with = "samples", value_name = "CELL")]
    base: Option<String>,
    /// Of which k to give pass@k, where cells differ in their seeds only [default: 1, 2, 5, 10 … and all].
    #[arg(long, conflicts_with = "samples", value_name = "K", value_delimiter = ',', value_parser = one_or_more)]
    k: Vec<usize>,
    /// Put the cells beside samples of this cell (of the method `sample`), at equal tokens and at equal executions; reads traces.
    #[arg(long, conflicts_with = "samples", value_name = "CELL")]
    equal_budget: Option<String>,
    /// Print a line of comma-separated values for each cell.
    #[arg(long, conflicts_with_all = ["json", "samples"])]
    csv: bool,
    /// Print Markdown.
    #[arg(long, conflicts_with_all = ["json", "csv", "samples"])]
    markdown: bool,
    /// Write the programs in another tool's format instead, a file for each cell, into the folder --out.
    #[arg(long, value_name = "FORMAT", value_enum, requires = "out", conflicts_with_all = ["json", "csv", "markdown", "samples"])]
    export: Option<ExportFormat>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ExportFormat {
    /// HumanEval's evaluator: {"task_id", "completion"} a line.
    Humaneval,
    /// EvalPlus: {"task_id", "solution"} a line.
    Evalplus,
    /// bigcode-evaluation-harness: a list of programs for each task.
    Bigcode,
}

impl From<ExportFormat> for Format {
    fn from(format: ExportFormat) -> Self {
        match format {
            ExportFormat::Humaneval => Self::HumanEval,
            ExportFormat::Evalplus => Self::EvalPlus,
            ExportFormat::Bigcode => Self::Bigcode,
        }
    }
}

pub fn eval(args: &Eval) -> Result<(), Failure> {
    let asked = &args.of_runs;
    let study = Study::open(&args.runs)?;
    match (asked.export, &args.out) {
        (Some(format), Some(dir)) => return export_to(args, &study, format.into(), dir),
        (_, Some(_)) => {
            return Err(Failure::message(
                USAGE,
                "--out goes with --export; send the output to a file instead",
            ));
        }
        _ if args.dataset.is_some() => {
            return Err(Failure::message(
                USAGE,
                "--dataset goes with --export or --samples; runs know their own",
            ));
        }
        _ => {}
    }
    let evaluation = study.evaluate(&EvaluationOptions {
        base: asked.base.clone(),
        ks: asked.k.clone(),
        equal_budget: asked.equal_budget.clone(),
        matched: false,
    })?;
    if args.json {
        say!("{:#}", serde_json::json!(evaluation));
    } else if asked.csv {
        evaluation.notes.iter().for_each(|note| tell!("note: {note}"));
        say!("{}", evaluation.csv().trim_end());
    } else if asked.markdown {
        say!("{}", markdown_of(&evaluation.sheets(), &evaluation.notes).trim_end());
    } else {
        say!("{}", text(&evaluation.sheets(), &evaluation.notes).trim_end());
    }
    Ok(())
}

fn export_to(args: &Eval, study: &Study, format: Format, dir: &Path) -> Result<(), Failure> {
    let tasks = if format.needs_tasks() { tasks_of_run(args, study)? } else { Vec::new() };
    for note in &study.notes {
        tell!("note: {note}");
    }
    for path in export(study, format, &tasks, dir)? {
        say!("{}", path.display());
    }
    Ok(())
}

/// The tasks of the dataset that the runs are of.
fn tasks_of_run(args: &Eval, study: &Study) -> Result<Vec<Task>, Failure> {
    let manifest = &study.runs[0].manifest;
    let configured = |key: &str| manifest.configuration["dataset"][key].as_str();
    let name = args.dataset.as_deref().or(configured("path")).unwrap_or(&manifest.dataset.name);
    let (tasks, sha256) = tasks(name, configured("adapter"), "all", args.offline)?;
    if sha256 != manifest.dataset.sha256 {
        return Err(Failure::message(
            BAD_INPUT,
            format!(
                "{name} is not the dataset that the run is of (its hash differs); give that one with --dataset"
            ),
        ));
    }
    Ok(tasks)
}
