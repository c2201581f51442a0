//! What goes into a session and what comes out of it.

use std::sync::atomic::AtomicBool;

use super::method::{Limits, MethodConfig};
use super::style::PromptStyle;
use super::tester::Score;
use super::trace::{EndReason, Event, SessionKey, Step};
use crate::engine::Usage;
use crate::task::Task;

/// One session to run.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// The problem.
    pub task: &'a Task,
    /// Name of the cell.
    pub cell: &'a str,
    /// The method and its parameters.
    pub method: &'a MethodConfig,
    /// How the prompt asks for the program.
    pub prompt: PromptStyle,
    /// Seed of all its randomness.
    pub seed: u64,
    /// What the session may spend.
    pub limits: Limits,
    /// Becomes true when the session is to be abandoned.
    pub stop: &'a AtomicBool,
}

/// What a session came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Which session.
    pub key: SessionKey,
    /// Everything that happened.
    pub events: Vec<Event>,
    /// The program.
    pub program: String,
    /// Its verdicts.
    pub score: Score,
    /// Whether there were guiding tests.
    pub guided: bool,
    /// Why it ended.
    pub end: EndReason,
    /// What it cost, the same on every machine.
    pub counts: Counts,
    /// What it cost in time.
    pub seconds: Seconds,
}

/// Costs that do not depend on the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Steps.
    pub steps: usize,
    /// Tokens of the committed program.
    pub committed_tokens: usize,
    /// Programs executed.
    pub executions: usize,
    /// What the engine did.
    pub engine: Usage,
}

/// Wall time in seconds by part of the loop.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Seconds {
    /// All.
    pub total: f64,
    /// Sampling candidates, and lines decoded without guidance.
    pub propose: f64,
    /// Classifying and gating.
    pub gate: f64,
    /// Running candidates.
    pub execute: f64,
    /// Signals and guided decoding.
    pub guide: f64,
    /// Choosing.
    pub commit: f64,
    /// Final verdicts.
    pub score: f64,
}

/// What a step has just done, for whoever watches.
#[derive(Clone, Copy)]
pub struct StepReport<'a> {
    /// The event.
    pub step: &'a Step,
    /// The program after it.
    pub program: &'a str,
    /// Tokens generated so far.
    pub generated_tokens: usize,
    /// Time spent so far; the total and the final verdicts come with the outcome.
    pub seconds: Seconds,
}
