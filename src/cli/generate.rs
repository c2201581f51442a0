//! `vigor generate`: one prompt or one task, streamed to the terminal.

use std::io::Write;

use clap::{Args, ValueEnum};
use vigor::sandbox::Limits as SandboxLimits;
use vigor::session::method::{Limits, MethodConfig, PromptTemplates};
use vigor::session::style::PromptStyle;
use vigor::session::trace::{Gate, Source, Step};
use vigor::session::{Attempt, StepReport};
use vigor::source::{Kind, default_name};
use vigor::task::{PromptKind, Task, Test};

use super::common::{Machine, tasks_of};
use super::exit::{BAD_INPUT, Failure, USAGE};
use super::say::{say, tell};
use super::{Interrupt, watched};

/// Write one program: for a prompt, or for a task of a dataset.
#[derive(Args)]
#[command(after_help = "Examples:
  vigor generate 'def is_prime(n: int) -> bool:'
  vigor generate 'def add(a, b):' --test 'assert add(2, 2) == 4' --method vigor
  vigor generate --task HumanEval/0 --method eg-cfg --gamma 3 --show steps")]
pub struct Generate {
    /// The prompt: the beginning of a function, or a description in words.
    #[arg(required_unless_present = "task", conflicts_with = "task")]
    prompt: Option<String>,
    /// A task of the dataset.
    #[arg(long, value_name = "ID")]
    task: Option<String>,
    /// A guiding test for the prompt, as Python statements; can be given several times.
    #[arg(long = "test", value_name = "PYTHON", conflicts_with = "task")]
    tests: Vec<String>,
    /// How to solve it: greedy, sample, vigor or eg-cfg.
    #[arg(long, value_name = "NAME", default_value = "greedy")]
    method: String,
    /// Guidance strength γ for eg-cfg: 0 is the plain model, 1 the conditional one, above 1 extrapolates.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    gamma: Option<f64>,
    /// Number of candidates.
    #[arg(long, value_name = "N")]
    n: Option<usize>,
    /// Softmax temperature of the candidates.
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    temperature: Option<f64>,
    /// Lines a candidate looks ahead.
    #[arg(long, value_name = "LINES")]
    horizon: Option<usize>,
    /// Seed of all randomness.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Tokens of the program at most.
    #[arg(long, value_name = "N", default_value_t = 400)]
    max_tokens: usize,
    /// What to show besides the program.
    #[arg(long, value_enum, default_value_t = Show::Program)]
    show: Show,
    /// Name of a known model, or the path of a GGUF file or of a folder with safetensors.
    #[arg(long, default_value = default_name(Kind::Model))]
    model: String,
    /// Name or path of the dataset of --task.
    #[arg(long, default_value = default_name(Kind::Dataset))]
    dataset: String,
    /// The adapter that reads a dataset given by path, for example humaneval, mbpp or jsonl.
    #[arg(long)]
    adapter: Option<String>,
    #[command(flatten)]
    machine: Machine,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Show {
    /// The program, line by line.
    Program,
    /// Every step: candidates, verdicts, the decision.
    Steps,
}

pub fn generate(args: &Generate, interrupt: &Interrupt) -> Result<(), Failure> {
    let method = method_of(args)?;
    let task = match &args.task {
        Some(id) => {
            let dataset = args.machine.find(&args.dataset, Kind::Dataset)?;
            let tasks = tasks_of(&dataset, args.adapter.as_deref())?;
            let name = |task: Option<&Task>| task.map_or_else(String::new, |t| t.id.clone());
            let (first, last) = (name(tasks.first()), name(tasks.last()));
            let found = tasks.into_iter().find(|t| t.id == *id);
            found.ok_or_else(|| {
                Failure::message(
                    BAD_INPUT,
                    format!("{} has no task {id:?}; its tasks are {first:?} to {last:?}", args.dataset),
                )
            })?
        }
        None => task_of(args.prompt.as_deref().unwrap_or_default(), &args.tests),
    };
    if task.guiding_tests.is_empty() && method != MethodConfig::Greedy {
        tell!("note: there is no guiding test, so `{}` runs unguided", method.name());
    }
    let model = args.machine.find(&args.model, Kind::Model)?;
    let bench = args.machine.workbench(
        &model,
        &PromptTemplates::default(),
        SandboxLimits::default(),
        args.machine.sandbox(),
        interrupt,
    )?;
    let attempt = Attempt {
        task: &task,
        cell: method.name(),
        method: &method,
        prompt: PromptStyle::Default,
        seed: args.seed,
        limits: Limits { max_tokens: args.max_tokens, ..Limits::default() },
        stop: interrupt,
    };
    let mut out = std::io::stdout();
    let solved = watched(|| {
        bench.supervisor.solve(&attempt, &mut |report| {
            // A reader that has left is noticed after the last line.
            let _ = match args.show {
                Show::Program => write!(out, "{}", report.step.decision.text),
                Show::Steps => show_step(&mut out, &report),
            };
            let _ = out.flush();
        })
    });
    let outcome = solved?;
    say!("");
    let passed = |verdicts: &[vigor::session::trace::TestVerdict]| {
        format!("{} of {}", verdicts.iter().filter(|v| v.kind == "passed").count(), verdicts.len())
    };
    tell!(
        "{} steps, {} tokens in {} forward passes, {:.1} s, {:.1} tokens/s; guiding tests {}, held-out tests {}",
        outcome.counts.steps,
        outcome.counts.engine.generated_tokens,
        outcome.counts.engine.forward_passes,
        outcome.seconds.total,
        outcome.counts.engine.generated_tokens as f64 / outcome.seconds.total.max(1e-9),
        passed(&outcome.score.guiding),
        passed(&outcome.score.held_out),
    );
    Ok(())
}

/// The method with the parameters that were given.
fn method_of(args: &Generate) -> Result<MethodConfig, Failure> {
    let wrong = |message: String| Failure::message(USAGE, message);
    let mut method = MethodConfig::of_name(&args.method).ok_or_else(|| {
        wrong(format!(
            "there is no method {:?}; choose one of {}",
            args.method,
            MethodConfig::NAMES.join(", ")
        ))
    })?;
    let unused = |flag: &str| {
        wrong(format!(
            "--{flag} means nothing to the method `{}`: leave it out, or choose another --method",
            args.method
        ))
    };
    if args.gamma.is_some() && method.gamma().is_none() {
        return Err(unused("gamma"));
    }
    let (sampling, horizon) = match &mut method {
        MethodConfig::Greedy => (None, None),
        MethodConfig::Sample(c) => (Some(&mut c.sampling), None),
        MethodConfig::Vigor(c) => (Some(&mut c.sampling), Some(&mut c.horizon)),
        MethodConfig::EgCfg(c) => {
            c.gamma = args.gamma.unwrap_or(c.gamma);
            (Some(&mut c.sampling), Some(&mut c.horizon))
        }
    };
    match (sampling, args.n, args.temperature) {
        (Some(sampling), n, temperature) => {
            sampling.n = n.unwrap_or(sampling.n);
            sampling.temperature = temperature.unwrap_or(sampling.temperature);
        }
        (None, Some(_), _) => return Err(unused("n")),
        (None, _, Some(_)) => return Err(unused("temperature")),
        (None, None, None) => {}
    }
    match (horizon, args.horizon) {
        (Some(horizon), Some(lines)) => *horizon = lines,
        (None, Some(_)) => return Err(unused("horizon")),
        _ => {}
    }
    method.check().map_err(|(key, must)| wrong(format!("--{key} must be {must}")))?;
    Ok(method)
}

/// A task from a prompt on the command line.
fn task_of(prompt: &str, tests: &[String]) -> Task {
    let name = |line: &str| {
        let rest = line.strip_prefix("def ")?;
        Some(rest.split('(').next().unwrap_or_default().trim().to_owned())
    };
    let entry_point = prompt.lines().filter_map(name).next_back();
    let test = |source: &String| {
        let call = entry_point.as_deref().and_then(|entry| vigor::feedback::invocation(source, entry));
        Test { call: call.map(str::to_owned), ..Test::statements(source) }
    };
    Task {
        id: "prompt".into(),
        prompt: prompt.into(),
        prompt_kind: if entry_point.is_some() { PromptKind::Code } else { PromptKind::Text },
        imports: String::new(),
        setup: String::new(),
        guiding_tests: tests.iter().map(test).collect(),
        held_out_tests: Vec::new(),
        reference_solution: None,
        entry_point,
    }
}

fn show_step(out: &mut dyn Write, report: &StepReport<'_>) -> std::io::Result<()> {
    let Step { step, candidates, signal, decision, .. } = report.step;
    writeln!(out, "── step {step} ─ {}", decision.reason)?;
    for candidate in candidates {
        let chosen = decision.source == Source::Candidate { index: candidate.index };
        let verdict = match (&candidate.gate, &candidate.execution) {
            (Gate::Invalid { message }, _) => format!("invalid: {message}"),
            (_, Some(execution)) => {
                let kinds: Vec<&str> = execution.tests.iter().map(|t| t.kind.as_str()).collect();
                format!("{} of {} passed ({})", execution.passed, kinds.len(), kinds.join(", "))
            }
            (_, None) => "not run".into(),
        };
        let mark = if chosen { "▶" } else { " " };
        writeln!(out, "{mark} [{}] logp {:7.2}  {verdict}", candidate.index, candidate.logprob)?;
        for line in candidate.text.trim_matches('\n').lines() {
            writeln!(out, "      │ {line}")?;
        }
    }
    if let Some(signal) = signal {
        writeln!(
            out,
            "  signal: {} characters{}",
            signal.text.len(),
            if signal.capped { ", capped" } else { "" }
        )?;
    }
    write!(out, "  + {}", decision.text.trim_start_matches('\n'))?;
    if !decision.text.ends_with('\n') {
        writeln!(out)?;
    }
    Ok(())
}
