//! `vigor eval`: verdicts on samples that anybody made for the tasks of a dataset.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use vigor::sandbox::{Pool, PoolConfig};
use vigor::score::{
    Sample, SampleVerdict, ScoreOptions, Summary, TestSet, limits, read_samples, reference_samples, score,
};
use vigor::source::Kind;
use vigor::task::{ADAPTERS, Task, load, split};

use super::common::{Isolation, find, processors, seconds};
use super::exit::{BAD_INPUT, Failure, WRITE};
use super::progress::SampleBar;
use super::say::{say, tell};
use super::{Interrupt, watched};

/// Samples and tasks listed without `--all`.
const LISTED: usize = 20;

/// Score samples: run programs that were made elsewhere on a dataset's tests, in the sandbox.
#[derive(Args)]
#[command(after_help = "Examples:
  vigor eval --dataset humaneval --samples samples.jsonl
  vigor eval --dataset humaneval:HumanEval_ET.jsonl.gz --samples samples.jsonl --json > verdicts.jsonl
  vigor eval --dataset mbpp --tests both --samples reference

A line of samples is {\"task_id\": …, \"completion\": …} (what follows the prompt) or {\"task_id\": …, \"solution\": …} (a whole
program); several lines for a task are allowed. `--samples reference` scores the dataset's own solutions.

The exit code is 0 when all samples have a verdict, whatever it is.")]
pub struct Eval {
    /// A dataset that can be pulled (humaneval, mbpp), or ADAPTER:PATH for a file; adapters are humaneval, humanevalplus,
    /// humaneval-et, mbpp, mbppplus, mbpp-et, apps, codecontests, livecodebench, bigcodebench and jsonl.
    #[arg(long, value_name = "NAME[:PATH]")]
    dataset: String,
    /// Only this part of MBPP: few-shot (tasks 1 to 10), test (11 to 510), validation (to 600) or train (to 974).
    #[arg(long, value_name = "NAME", default_value = "all")]
    split: String,
    /// The samples, also packed with gzip; `-` reads standard input, `reference` takes the dataset's solutions.
    #[arg(long, value_name = "FILE")]
    samples: PathBuf,
    /// Print a JSON object for each sample, in their order; the summary goes to standard error.
    #[arg(long)]
    json: bool,
    /// Write these JSON objects to a file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The tests that decide.
    #[arg(long, value_name = "SET", value_enum, default_value_t)]
    tests: Tests,
    /// Seconds for each test; all tests of a sample together have three times that.
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    time: f64,
    /// Memory of a sample in MiB, the interpreter's own 30 included.
    #[arg(long, value_name = "MB", default_value = "1024")]
    memory: u64,
    /// Samples that run at once [default: one a processor].
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// List every sample that did not pass, and every task without a sample.
    #[arg(long)]
    all: bool,
    /// Python interpreter, version 3.9 or later.
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// Import a module ahead of time, and let programs and tests import any package of the interpreter; can be given
    /// several times.
    #[arg(long, value_name = "MODULE")]
    preload: Vec<String>,
    /// Let programs and tests write files, of so many MiB in all, in a folder that is gone after each sample.
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u64).range(1..=65_536))]
    scratch: Option<u64>,
    #[command(flatten)]
    isolation: Isolation,
    /// Use only files that are here already; open no connection.
    #[arg(long)]
    offline: bool,
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
    let tasks = tasks(args)?;
    let samples = samples(args, &tasks)?;
    // Opened first: a file that cannot be written should be known of before hours of scoring.
    let out = args.out.as_deref().map(OutFile::create).transpose()?;
    let pool = Pool::new(PoolConfig {
        python: args.python.clone(),
        workers: args.workers.unwrap_or_else(processors).max(1),
        policy: args.isolation.policy(),
        preload: args.preload.clone(),
        scratch_mb: args.scratch,
        ..PoolConfig::default()
    })?;
    let options = ScoreOptions { tests: args.tests.into(), limits: limits(args.time, args.memory) };
    let bar = SampleBar::new(samples.len());
    let finished = |_: &SampleVerdict| bar.sample_finished();
    let verdicts = watched(|| score(&pool, &tasks, &samples, options, interrupt, &finished));
    bar.finish();
    let verdicts = verdicts?;

    let lines = json_lines(&verdicts);
    if let Some(out) = out {
        out.finish(lines.as_bytes())?;
    }
    let text = text_of(args, &Summary::new(&tasks, &samples, &verdicts), &samples, &verdicts);
    if args.json {
        say!("{}", lines.trim_end());
        tell!("{text}");
    } else {
        say!("{text}");
    }
    Ok(())
}

fn tasks(args: &Eval) -> Result<Vec<Task>, Failure> {
    let (adapter, name) = match args.dataset.split_once(':') {
        Some((adapter, path)) if ADAPTERS.contains(&adapter) => (Some(adapter), path),
        _ => (None, args.dataset.as_str()),
    };
    let dataset = find(name, Kind::Dataset, args.offline)?;
    let own = dataset.manifest.as_ref().and_then(|manifest| manifest.adapter.as_deref());
    let Some(adapter) = adapter.or(own) else {
        let remedy = format!("say how to read it, as ADAPTER:{name}; adapters are {}", ADAPTERS.join(", "));
        return Err(Failure::message(BAD_INPUT, format!("{name}: {remedy}")));
    };
    Ok(split(adapter, &args.split, load(adapter, &dataset.path)?)?)
}

fn samples(args: &Eval, tasks: &[Task]) -> Result<Vec<Sample>, Failure> {
    let name = args.samples.to_string_lossy();
    let source: Box<dyn Read> = match &*name {
        "reference" => return Ok(reference_samples(tasks)?),
        "-" => Box::new(std::io::stdin()),
        _ => Box::new(File::open(&args.samples).map_err(|error| {
            Failure::message(BAD_INPUT, format!("cannot read the samples {name}: {error}"))
        })?),
    };
    Ok(read_samples(if name == "-" { "standard input" } else { &name }, source, tasks)?)
}

fn json_lines(verdicts: &[SampleVerdict]) -> String {
    verdicts.iter().map(|verdict| serde_json::json!(verdict).to_string() + "\n").collect()
}

/// A file that is there whole or not at all: it gets its name at the end.
struct OutFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl OutFile {
    fn create(path: &Path) -> Result<Self, Failure> {
        let fail = |reason: String| {
            Failure::message(
                WRITE,
                format!("cannot write {}: {reason}; choose another --out", path.display()),
            )
        };
        if path.exists() && !path.is_file() {
            return Err(fail("it is there and is no file".to_owned()));
        }
        // A link stays one: what it points to is replaced.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut name = path.file_name().ok_or_else(|| fail("it names no file".to_owned()))?.to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = File::create(&temporary).map_err(|error| fail(error.to_string()))?;
        Ok(Self { file, temporary, path })
    }

    fn finish(mut self, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.path.display();
        self.file
            .write_all(bytes)
            .and_then(|()| self.file.sync_all())
            .and_then(|()| std::fs::rename(&self.temporary, &self.path))
            .map_err(|error| Failure::message(WRITE, format!("cannot write {path}: {error}")))
    }
}

impl Drop for OutFile {
    /// Removes what has not got its name.
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.temporary);
    }
}

fn text_of(args: &Eval, summary: &Summary, samples: &[Sample], verdicts: &[SampleVerdict]) -> String {
    let listed = if args.all { usize::MAX } else { LISTED };
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
