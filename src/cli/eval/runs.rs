//! The numbers of runs, from their files.

use std::path::Path;

use clap::{Args, ValueEnum};
use vigor::report::export::{Format, export};
use vigor::report::sheet::{markdown_of, text};
use vigor::report::{EvaluationOptions, Study};
use vigor::task::Task;

use super::{Eval, judges, tasks};
use crate::cli::Interrupt;
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
    #[arg(long, conflicts_with_all = ["json", "samples", "equal_budget"])]
    csv: bool,
    /// Print Markdown.
    #[arg(long, conflicts_with_all = ["json", "csv", "samples"])]
    markdown: bool,
    /// Who says whether a program passed.
    #[arg(long, conflicts_with_all = ["samples", "export"], value_name = "MODE", value_enum, default_value_t)]
    mode: Mode,
    /// What judges in the mode external: a command for the shell, called for each cell, with `{predictions}` for the file of its
    /// programs and `{out}` for the file of its verdicts, {"task_id", "passed"} a line. It is not run in the sandbox.
    #[arg(long, conflicts_with_all = ["samples", "export"], value_name = "COMMAND", requires = "out")]
    external_command: Option<String>,
    /// Format of `{predictions}`.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Predictions::Evalplus, requires = "external_command")]
    predictions: Predictions,
    /// Write the programs in another tool's format instead, a file for each cell, into the folder --out.
    #[arg(long, value_name = "FORMAT", value_enum, requires = "out", conflicts_with_all = ["json", "csv", "markdown", "samples"])]
    export: Option<ExportFormat>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Mode {
    /// The run itself, when the session ended: no program is run.
    #[default]
    #[value(name = "status_only", alias = "status-only")]
    StatusOnly,
    /// The sandbox: all programs are run on their tests once more, under the limits of their run.
    Internal,
    /// The command of --external-command. Its verdicts take the place of those of the held-out tests.
    External,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Predictions {
    /// {"task_id", "completion"} a line.
    Humaneval,
    /// {"task_id", "solution"} a line.
    Evalplus,
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

pub fn eval(args: &Eval, interrupt: &Interrupt) -> Result<(), Failure> {
    let asked = &args.of_runs;
    let usage = |reason: &str| Err(Failure::message(USAGE, reason));
    let mode = match (asked.mode, &asked.external_command) {
        (Mode::StatusOnly, Some(_)) => Mode::External,
        (Mode::Internal, Some(_)) => return usage("--external-command goes with --mode external"),
        (mode, _) => mode,
    };
    if mode != Mode::Internal {
        args.execution.none()?;
    }
    if args.out.is_some() && asked.export.is_none() && mode != Mode::External {
        return usage("--out goes with --export or --external-command; send the output to a file instead");
    }
    if args.dataset.is_some() && asked.export.is_none() && mode == Mode::StatusOnly {
        return usage("--dataset goes with --samples, --export, or another --mode; runs know their own");
    }
    let mut study = Study::open(&args.runs)?;
    if let (Some(format), Some(dir)) = (asked.export, &args.out) {
        return export_to(args, &study, format.into(), dir);
    }
    match (mode, &asked.external_command, &args.out) {
        (Mode::StatusOnly, ..) => {}
        (Mode::Internal, ..) => {
            let tasks = tasks_of_run(args, &study)?;
            judges::internal(&mut study, &tasks, asked.equal_budget.as_deref(), &args.execution, interrupt)?;
        }
        (Mode::External, Some(command), Some(dir)) => {
            let format = match asked.predictions {
                Predictions::Humaneval => Format::HumanEval,
                Predictions::Evalplus => Format::EvalPlus,
            };
            let tasks = if format.needs_tasks() { tasks_of_run(args, &study)? } else { Vec::new() };
            judges::External { command, format, dir }.judge(&mut study, &tasks, interrupt)?;
        }
        (Mode::External, ..) => return usage("--mode external needs --external-command and --out"),
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
