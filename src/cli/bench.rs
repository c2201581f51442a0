//! `vigor bench`: how fast this machine does what sessions ask of it.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use vigor::bench::{BenchError, Comparison, Document, Family, Plan, Progress, measure_machine, run};
use vigor::sandbox::Limits;
use vigor::session::method::PromptTemplates;
use vigor::source::{Kind, default_name};

use super::common::Machine;
use super::exit::{BAD_INPUT, FAILURE, Failure, INTERRUPTED, USAGE};
use super::say::{say, tell};
use super::{Interrupt, watched};

/// Measure speed: prefill, decoding, guidance, steps, a whole session; beside the machine's own limits.
#[derive(Args)]
#[command(after_help = "Examples:
  vigor bench --only prefill,decode
  vigor bench --only shared --n 1,8 --prefix 1024 --repeat 9
  vigor bench --json > before.json
  vigor bench --compare before.json

Rows: prefill, decode, shared, sessions, guided, step, session; and synthetic-session, only when it is named.
docs/performance.md says what each means.")]
pub struct Bench {
    /// The rows to measure [default: all but synthetic-session].
    #[arg(long, value_name = "ROWS", value_delimiter = ',', value_parser = Family::from_str)]
    only: Vec<Family>,
    /// Sequences at once, of `shared` and `sessions` [default: 1,2,4,8,16, and 32 of `shared`].
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = at_least_one)]
    n: Vec<usize>,
    /// Tokens of the prefix of `shared` [default: 256,1024,4096].
    #[arg(long, value_name = "TOKENS", value_delimiter = ',', value_parser = at_least_one)]
    prefix: Vec<usize>,
    /// Tokens of the prompt of `prefill`.
    #[arg(long, value_name = "TOKENS", default_value = "512", value_parser = at_least_one)]
    prompt: usize,
    /// Tokens that each sequence decodes in one repetition.
    #[arg(long, value_name = "TOKENS", default_value = "32", value_parser = at_least_one)]
    steps: usize,
    /// Lines of the program of `session` at most; those of `step` are never more than 10.
    #[arg(long, value_name = "N", default_value = "40", value_parser = at_least_one)]
    lines: usize,
    /// Repetitions of each row, after a warm-up.
    #[arg(long, value_name = "N", default_value = "5", value_parser = at_least_one)]
    repeat: usize,
    /// Print one JSON document.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print comma-separated values.
    #[arg(long)]
    csv: bool,
    /// Print how many times as fast each row is as in an earlier JSON document.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "csv"])]
    compare: Option<PathBuf>,
    /// Name of a known model, or the path of a GGUF file or of a folder with safetensors.
    #[arg(long, default_value = default_name(Kind::Model))]
    model: String,
    #[command(flatten)]
    machine: Machine,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(0) | Err(_) => Err("a whole number of at least 1 is needed".into()),
        Ok(n) => Ok(n),
    }
}

pub fn bench(args: &Bench, interrupt: &Interrupt) -> Result<(), Failure> {
    // Before minutes of measuring, not after them.
    let earlier = args.compare.as_deref().map(read).transpose()?;
    let model = args.machine.find(&args.model, Kind::Model)?;
    tell!("measuring the machine");
    let machine = measure_machine(args.machine.threads(), &args.machine.placement()?)?;
    let workbench = args.machine.workbench(
        &model,
        &PromptTemplates::default(),
        Limits::default(),
        args.machine.sandbox(),
        interrupt,
    )?;
    let plan = plan(args, workbench.config.context);
    if plan.families.contains(&Family::Shared) && plan.prefixes.is_empty() {
        let context = workbench.config.context;
        return Err(Failure::message(
            USAGE,
            format!("no default prefix fits the model's context of {context}: give --prefix"),
        ));
    }
    let bar = Bar::new();
    let result = watched(|| run(&workbench, machine, &plan, interrupt, &mut |progress| bar.show(progress)));
    bar.0.finish_and_clear();
    let document = result?;

    if args.json {
        let text = serde_json::to_string_pretty(&document).map_err(|e| Failure::new(FAILURE, e))?;
        say!("{text}");
    } else if args.csv {
        say!("{}", document.csv());
    } else {
        say!("{}", document.text());
        if let Some(earlier) = &earlier {
            say!("\nTokens/s beside those of {}:", earlier.date);
            say!("{}", Comparison::new(earlier, &document).text());
        }
    }
    Ok(())
}

/// The plan that was asked for. Default prefixes that the model cannot hold are left out, and told.
fn plan(args: &Bench, context: usize) -> Plan {
    let or = |given: &[usize], default: Vec<usize>| if given.is_empty() { default } else { given.to_vec() };
    let default = Plan::default();
    let families = if args.only.is_empty() { default.families } else { args.only.clone() };
    let mut prefixes = or(&args.prefix, default.prefixes);
    if args.prefix.is_empty() && families.contains(&Family::Shared) {
        let fits = |prefix: &usize| prefix + args.steps < context;
        for prefix in prefixes.iter().filter(|prefix| !fits(prefix)) {
            tell!("note: a prefix of {prefix} tokens is left out: the model's context is {context}");
        }
        prefixes.retain(fits);
    }
    Plan {
        families,
        prompt: args.prompt,
        branches: or(&args.n, default.branches),
        sessions: or(&args.n, default.sessions),
        prefixes,
        steps: args.steps,
        lines: args.lines,
        repeat: args.repeat,
    }
}

fn read(path: &Path) -> Result<Document, Failure> {
    let wrong = |reason: String| {
        Failure::message(
            BAD_INPUT,
            format!("{}: {reason}; --compare takes what `vigor bench --json` printed", path.display()),
        )
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
}

/// What is being measured: a bar on a terminal, else a line a repetition.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len}  {elapsed}  {msg}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    fn show(&self, progress: Progress<'_>) {
        let Progress { round, rounds, row, turn } = progress;
        let what = if round == 0 { "warm-up".to_owned() } else { format!("repetition {round} of {rounds}") };
        if std::io::stderr().is_terminal() {
            self.0.set_length(turn.1 as u64);
            self.0.set_position(turn.0 as u64);
            self.0.set_message(format!("{what}: {row}"));
        } else if turn.0 % (turn.1 / (rounds + 1)).max(1) == 0 {
            tell!("{what}");
        }
    }
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        let code = match error {
            BenchError::TooLong { .. } => USAGE,
            BenchError::NoSteps { .. } => FAILURE,
            BenchError::Engine(vigor::engine::EngineError::Interrupted) => INTERRUPTED,
            BenchError::Engine(_) => FAILURE,
            BenchError::Tokenizer(_) => BAD_INPUT,
            BenchError::Session(error) => return error.into(),
        };
        Self::new(code, error)
    }
}
