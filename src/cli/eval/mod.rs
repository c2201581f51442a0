//! `vigor eval`: the numbers of runs, or verdicts on samples that anybody made.

use std::path::PathBuf;

use clap::Args;
use vigor::source::Kind;
use vigor::task::{ADAPTERS, Task, load, split};

use super::Interrupt;
use super::common::find;
use super::exit::{BAD_INPUT, Failure};

mod execution;
mod judges;
mod out_file;
mod runs;
mod samples;

use execution::Execution;
use runs::OfRuns;
use samples::OfSamples;

/// Evaluate runs, or score samples that were made elsewhere.
#[derive(Args)]
#[command(after_help = "Examples:
  vigor eval runs/gamma                                pass rates, intervals, comparisons, union
  vigor eval runs/gamma --base greedy --csv > gamma.csv
  vigor eval runs/seed-1 runs/seed-2 runs/seed-3       pass@k: the runs differ in their seeds only
  vigor eval runs/gamma --equal-budget sample          beside plain samples of equal cost
  vigor eval runs/gamma --mode internal                run all programs on their tests once more
  vigor eval runs/gamma --export evalplus --out exported
  vigor eval --dataset humaneval --samples samples.jsonl
  vigor eval --dataset humaneval:HumanEval_ET.jsonl.gz --samples samples.jsonl --json > verdicts.jsonl
  vigor eval --dataset mbpp --tests both --samples reference

Runs are evaluated from their files alone, and no program is run, unless --mode asks for it. docs/comparing.md says what each number means.

A line of samples is {\"task_id\": …, \"completion\": …} (what follows the prompt) or {\"task_id\": …, \"solution\": …} (a whole
program); several lines for a task are allowed. `--samples reference` scores the dataset's own solutions.

The exit code is 0 when all samples have a verdict, whatever it is.")]
pub struct Eval {
    /// Folders of runs, of one dataset.
    #[arg(value_name = "RUN", required_unless_present = "samples")]
    runs: Vec<PathBuf>,
    /// Print JSON: the numbers of runs, or an object for each sample, in their order (the summary goes to standard error).
    #[arg(long)]
    json: bool,
    /// File for the verdicts on samples, or folder of an export or of what an external command reads and writes.
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// A dataset that can be pulled (humaneval, mbpp), or ADAPTER:PATH for a file [default: a run's own]; adapters are
    /// humaneval, humanevalplus, humaneval-et, mbpp, mbppplus, mbpp-et, apps, codecontests, livecodebench, bigcodebench,
    /// ds1000 and jsonl.
    #[arg(long, value_name = "NAME[:PATH]", required_unless_present = "runs")]
    dataset: Option<String>,
    /// Use only files that are here already; open no connection.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    of_runs: OfRuns,
    #[command(flatten)]
    of_samples: OfSamples,
    #[command(flatten)]
    execution: Execution,
}

/// Finds a dataset and reads the tasks of one part of it; `text` is its name, or its adapter and its path. Also its hash.
fn tasks(
    text: &str,
    adapter: Option<&str>,
    part: &str,
    offline: bool,
) -> Result<(Vec<Task>, String), Failure> {
    let (given, name) = match text.split_once(':') {
        Some((adapter, path)) if ADAPTERS.contains(&adapter) => (Some(adapter), path),
        _ => (adapter, text),
    };
    let dataset = find(name, Kind::Dataset, offline)?;
    let own = dataset.manifest.as_ref().and_then(|manifest| manifest.adapter.as_deref());
    let Some(adapter) = given.or(own) else {
        let remedy = format!("say how to read it, as ADAPTER:{name}; adapters are {}", ADAPTERS.join(", "));
        return Err(Failure::message(BAD_INPUT, format!("{name}: {remedy}")));
    };
    Ok((split(adapter, part, load(adapter, &dataset.path)?)?, dataset.sha256))
}

pub fn eval(args: &Eval, interrupt: &Interrupt) -> Result<(), Failure> {
    if args.runs.is_empty() { samples::eval(args, interrupt) } else { runs::eval(args, interrupt) }
}
