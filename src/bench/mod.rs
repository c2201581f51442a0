//! How fast this machine does what sessions ask of the engine, and how near that is to what the machine can do.
//!
//! Rows are measured in turns: every row once without counting (the warm-up), then every row once, `repeat`
//! times over. So a machine that slows down for a while slows all rows, not one. `docs/performance.md` says
//! what each row means.

use std::sync::atomic::AtomicBool;

use thiserror::Error;

mod case;
mod compare;
mod document;
mod machine;
mod table;
mod task;
mod work;

pub use case::{Family, Plan};
pub use compare::Comparison;
pub use document::{Document, Parts, Row, Solved, StepCounts, Summary};
pub use machine::{Gpu, Machine};

use crate::engine::EngineError;
use crate::model::ModelError;
use crate::model::device::{self, Placement};
use crate::model::tokenizer::TokenizerError;
use crate::run::Workbench;
use crate::session::SessionError;
use crate::session::method::Limits;
use crate::session::style::PromptStyle;
use case::Case;
use work::{Lab, Sample};

/// Why a benchmark has no result.
#[derive(Debug, Error)]
pub enum BenchError {
    /// A row does not fit the model.
    #[error(
        "the row {row} takes sequences of {tokens} tokens, the model's context is {context}; choose shorter ones with --prefix or --prompt, or other rows with --only"
    )]
    TooLong {
        /// Its name.
        row: String,
        /// The length that it needs.
        tokens: usize,
        /// What the model can hold.
        context: usize,
    },
    /// The model ended the program before a step could be measured.
    #[error(
        "with this model a session of `{method}` has no step with candidates after the first; leave the row out with --only"
    )]
    NoSteps {
        /// The method.
        method: String,
    },
    /// The engine failed or was interrupted.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A session failed or was interrupted.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The prompts cannot be tokenized.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

/// Where a benchmark stands: repetition `round` of `rounds` (0 is the warm-up) of a row comes next.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The repetition.
    pub round: usize,
    /// How many count.
    pub rounds: usize,
    /// The row.
    pub row: &'a str,
    /// Number of the repetition among those of all rows, and how many those are.
    pub turn: (usize, usize),
}

/// Measures all rows of a plan. `machine` was measured before the model was loaded.
///
/// # Errors
/// See [`BenchError`].
pub fn run(
    bench: &Workbench,
    machine: Machine,
    plan: &Plan,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(Progress<'_>),
) -> Result<Document, BenchError> {
    let cases = plan.cases();
    let mut lab = Lab::new(bench, plan, &cases)?;
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); cases.len()];
    let mut peaks = vec![0; cases.len()];
    let loading = machine::peak_memory();
    let turns = cases.len() * (plan.repeat + 1);
    for round in 0..=plan.repeat {
        for (index, &case) in cases.iter().enumerate() {
            let turn = (round * cases.len() + index, turns);
            watch(Progress { round, rounds: plan.repeat, row: &case.to_string(), turn });
            machine::forget_peak_memory();
            let sample = lab.measure(case, stop)?;
            peaks[index] = machine::peak_memory().max(peaks[index]);
            if round > 0 {
                samples[index].push(sample);
            }
        }
    }
    let rows: Vec<Row> = cases
        .iter()
        .zip(&samples)
        .zip(&peaks)
        .map(|((&case, samples), &peak)| row(case, samples, peak, &machine))
        .collect();
    let sessions = cases.iter().any(|case| matches!(case, Case::Step { .. } | Case::Session));
    let written = samples.iter().flatten().find_map(|sample| sample.program.clone());
    Ok(Document {
        vigor: env!("CARGO_PKG_VERSION").to_owned(),
        date: document::now(),
        model: bench.model.clone(),
        weight_bytes: bench.weight_bytes,
        kv_bytes_per_token: bench.kv_bytes_per_token,
        repeat: plan.repeat,
        peak_memory_bytes: peaks.into_iter().fold(loading, u64::max),
        notes: notes(&cases, &rows, bench.clients().len()),
        rows,
        task: if sessions { Some(solved(bench, plan, written)?) } else { None },
        machine,
    })
}

/// Measures the machine, and the GPU on which a model would be placed; to be done before anything else computes.
///
/// # Errors
/// A GPU was asked for and cannot be used.
pub fn measure_machine(threads: usize, placement: &Placement) -> Result<Machine, ModelError> {
    let gpu = device::measure(placement)?.map(|(info, limits)| Gpu {
        name: info.name,
        capability: info.capability,
        multiprocessors: info.multiprocessors,
        memory_bytes: info.memory_bytes,
        read_gb_per_second: limits.read_gb_per_second,
        bf16_gflop_per_second: limits.bf16_gflop_per_second,
    });
    let machine = Machine { gpu, ..Machine::measure(threads) };
    machine::forget_peak_memory();
    Ok(machine)
}

fn row(case: Case, samples: &[Sample], peak: u64, machine: &Machine) -> Row {
    let of = |value: fn(&Sample) -> f64| Summary::of(&samples.iter().map(value).collect::<Vec<_>>());
    let seconds = of(|s| s.seconds).median;
    let work = samples.last().and_then(|sample| sample.work);
    let gb = work.map(|work| work.bytes / seconds / 1e9);
    let (read_limit, flop_limit) = machine.limits();
    let gflop = work.map(|work| work.flop / seconds / 1e9);
    let parts: Vec<Parts> = samples.iter().filter_map(|sample| sample.parts).collect();
    Row {
        name: case.to_string(),
        unit: case.unit().to_owned(),
        sequences: case.sequences(),
        prefix: case.prefix(),
        tokens: samples.last().map_or(0, |sample| sample.tokens),
        tokens_per_second: of(|s| s.tokens as f64 / s.seconds),
        milliseconds: of(|s| 1e3 * s.seconds / s.units),
        gb_per_second: gb,
        of_read_bandwidth: gb.map(|gb| gb / read_limit),
        gflop_per_second: gflop,
        of_fma_rate: gflop.map(|gflop| gflop / flop_limit),
        pages: samples.iter().map(|sample| sample.pages).max().unwrap_or(0),
        peak_memory_bytes: peak,
        parts: (!parts.is_empty()).then(|| Parts::mean(&parts)),
        counts: samples.last().and_then(|sample| sample.counts),
    }
}

/// Sessions that run beside each other must not take from the whole.
fn notes(cases: &[Case], rows: &[Row], engines: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if engines > 1 {
        notes.push(format!("{engines} GPUs have the model: each row is one's, sessions take them in turns"));
    }
    let sessions: Vec<&Row> = cases
        .iter()
        .zip(rows)
        .filter(|(case, _)| matches!(case, Case::Sessions { .. }))
        .map(|(_, row)| row)
        .collect();
    for pair in sessions.windows(2) {
        let (fewer, more) = (&pair[0].tokens_per_second, &pair[1].tokens_per_second);
        if more.median < fewer.median {
            notes.push(format!(
                "{} decodes fewer tokens a second in all than {}: {:.1} after {:.1} (medians)",
                pair[1].name, pair[0].name, more.median, fewer.median
            ));
        }
    }
    notes
}

/// The task and its prompts, written down so that others can solve the same.
fn solved(bench: &Workbench, plan: &Plan, written: Option<String>) -> Result<Solved, BenchError> {
    let task = task::task();
    let plain = bench.supervisor.prompts.plain(&task, PromptStyle::Default)?;
    let conditional = bench.supervisor.prompts.conditional(&task, PromptStyle::Default, "SIGNAL")?;
    Ok(Solved {
        method: serde_json::to_value(work::session_method()).unwrap_or_default(),
        max_lines: plan.lines,
        max_tokens: Limits::default().max_tokens,
        prompt_tokens: plain.tokens.len(),
        prompt: plain.text,
        conditional_prompt: conditional.text,
        program: plain.program,
        written,
        task,
    })
}
