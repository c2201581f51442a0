//! Verdicts on samples that anybody made for the tasks of a dataset.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use vigor::run::config::SandboxSection;
use vigor::score::{
    Sample, SampleVerdict, ScoreOptions, Summary, TestSet, limits, read_samples, reference_samples, score,
};
use vigor::task::Task;

use super::out_file::OutFile;
use super::{Eval, tasks};
use crate::cli::exit::{BAD_INPUT, Failure, USAGE};
use crate::cli::progress::SampleBar;
use crate::cli::say::{say, tell};
use crate::cli::{Interrupt, watched};

/// Seconds for each test where none are asked for.
const SECONDS: f64 = 10.0;

/// Memory of a sample in MiB where none is asked for.
const MEMORY_MB: u64 = 1024;

/// Samples and tasks listed without `--all`.
const LISTED: usize = 20;

/// What is asked about samples.
#[derive(Args)]
#[command(next_help_heading = "Samples made elsewhere")]
pub struct OfSamples {
    /// The samples, also packed with gzip; `-` reads standard input, `reference` takes the dataset's solutions.
    #[arg(long, conflicts_with = "runs", value_name = "FILE", required_unless_present = "runs")]
    samples: Option<PathBuf>,
    /// Only this part of MBPP: few-shot (tasks 1 to 10), test (11 to 510), validation (to 600) or train (to 974).
    #[arg(long, conflicts_with = "runs", value_name = "NAME", default_value = "all")]
    split: String,
    /// The tests that decide.
    #[arg(long, conflicts_with = "runs", value_name = "SET", value_enum, default_value_t)]
    tests: Tests,
    /// List every sample that did not pass, and every task without a sample.
    #[arg(long, conflicts_with = "runs")]
    all: bool,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Tests {
    /// Those that only a score runs.
    #[default]
    HeldOut,
    /// Those that may run while a program is written.
    Guiding,
    /// First the guiding, then the held-out tests.
    Both,
}

impl From<Tests> for TestSet {
    fn from(tests: Tests) -> Self {
        match tests {
            Tests::HeldOut => Self::HeldOut,
            Tests::Guiding => Self::Guiding,
            Tests::Both => Self::Both,
        }
    }
}

pub fn eval(args: &Eval, interrupt: &Interrupt) -> Result<(), Failure> {
    let asked = &args.of_samples;
    let (Some(dataset), Some(file)) = (&args.dataset, &asked.samples) else {
        return Err(Failure::message(USAGE, "--dataset and --samples go together"));
    };
    let (tasks, _) = tasks(dataset, None, &asked.split, args.offline)?;
    let samples = samples(file, &tasks)?;
    // Opened first: a file that cannot be written should be known of before hours of scoring.
    let out = args.out.as_deref().map(OutFile::create).transpose()?;
    let pool = args.execution.pool(&SandboxSection::default())?;
    let (seconds, memory) =
        (args.execution.time.unwrap_or(SECONDS), args.execution.memory.unwrap_or(MEMORY_MB));
    let options = ScoreOptions { tests: asked.tests.into(), limits: limits(seconds, memory) };
    let bar = SampleBar::new(samples.len());
    let finished = |_: &SampleVerdict| bar.sample_finished();
    let verdicts = watched(|| score(&pool, &tasks, &samples, options, interrupt, &finished));
    bar.finish();
    let verdicts = verdicts?;

    let lines = json_lines(&verdicts);
    if let Some(out) = out {
        out.finish(lines.as_bytes())?;
    }
    let text = text_of(asked.all, &Summary::new(&tasks, &samples, &verdicts), &samples, &verdicts);
    if args.json {
        say!("{}", lines.trim_end());
        tell!("{text}");
    } else {
        say!("{text}");
    }
    Ok(())
}

fn samples(file: &Path, tasks: &[Task]) -> Result<Vec<Sample>, Failure> {
    let name = file.to_string_lossy();
    let source: Box<dyn Read> = match &*name {
        "reference" => return Ok(reference_samples(tasks)?),
        "-" => Box::new(std::io::stdin()),
        _ => Box::new(File::open(file).map_err(|error| {
            Failure::message(BAD_INPUT, format!("cannot read the samples {name}: {error}"))
        })?),
    };
    Ok(read_samples(if name == "-" { "standard input" } else { &name }, source, tasks)?)
}

fn json_lines(verdicts: &[SampleVerdict]) -> String {
    verdicts.iter().map(|verdict| serde_json::json!(verdict).to_string() + "\n").collect()
}

fn text_of(all: bool, summary: &Summary, samples: &[Sample], verdicts: &[SampleVerdict]) -> String {
    let listed = if all { usize::MAX } else { LISTED };
    let more = |count: usize| match count.saturating_sub(listed) {
        0 => String::new(),
        more => format!("… {more} more, listed with --all\n"),
    };
    let mut text = String::new();
    let failing: Vec<_> = samples.iter().zip(verdicts).filter(|(_, verdict)| !verdict.passed).collect();
    for (sample, verdict) in failing.iter().take(listed) {
        if sample.line > 0 {
            let _ = write!(text, "line {:<6} ", sample.line);
        }
        let _ = writeln!(text, "{:<16} {:<13} {}", verdict.task_id, verdict.verdict, verdict.message);
    }
    text += &more(failing.len());
    if !failing.is_empty() {
        text.push('\n');
    }
    for (kind, count) in &summary.verdicts {
        let share = 100.0 * *count as f64 / summary.samples as f64;
        let _ = writeln!(text, "{kind:<16} {count:>7} samples  {share:>5.1} %");
    }
    let sampled = summary.sampled();
    let _ = writeln!(text, "all passed       {:>7} of {sampled} tasks with samples", summary.all_passed);
    let _ = writeln!(
        text,
        "pass@1           {:>7.4} over {sampled} of {} tasks",
        summary.pass_at_1, summary.tasks
    );
    let missing = summary.unsampled.len();
    if missing > 0 {
        let all = summary.pass_at_1 * sampled as f64 / summary.tasks as f64;
        let names: Vec<&str> = summary.unsampled.iter().map(String::as_str).take(listed).collect();
        let _ = writeln!(
            text,
            "\n{missing} tasks have no sample; pass@1 is {all:.4} if they count as not passed: {}",
            names.join(", ")
        );
        text += &more(missing);
    }
    for (module, count) in &summary.missing_modules {
        let _ = writeln!(
            text,
            "\nnote: {count} samples did not pass because Python has no module {module}; --preload {module} \
             lets programs and tests import packages of the interpreter"
        );
    }
    for (kind, what) in [
        ("no_tests", "belong to tasks without tests of that set (--tests)"),
        ("harness_error", "could not be judged: the harness or the test is at fault"),
    ] {
        let count = summary.count(kind);
        if count > 0 {
            let _ = writeln!(text, "\nnote: {count} samples {what}; they count as not passed");
        }
    }
    text.truncate(text.trim_end().len());
    text
}
