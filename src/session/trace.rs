//! The trace: what a session saw and decided, one event a step, in a versioned schema (`docs/trace.md`).
//!
//! Everything that a decision depends on is in its event, so [`crate::session::replay`] can derive every
//! decision again without the model. Nothing here depends on time or on the machine: timings live in their
//! own file, so that two runs of one configuration give the same bytes.

use serde::{Deserialize, Serialize};

/// Version of the schema of [`Event`]; a reader refuses a newer one.
pub const SCHEMA_VERSION: u32 = 1;

/// Which session an event or a result belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionKey {
    /// Identifier of the task, for example `HumanEval/0`.
    pub task_id: String,
    /// Name of the cell of the grid: one method with one setting of its parameters, e.g. `eg-cfg γ=3`.
    pub cell: String,
    /// `greedy`, `sample`, `vigor`, `eg-cfg` …
    pub method: String,
    /// Guidance strength γ, for methods that guide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
    /// The run's seed.
    pub seed: u64,
}

/// One line of `trace.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceLine {
    /// The session that this event belongs to.
    pub session: SessionKey,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// An event of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[allow(clippy::large_enum_variant)]
pub enum Event {
    /// First event: what the session started from.
    Start(Start),
    /// One turn of the loop.
    Step(Step),
    /// Last event: why the session ended and with which program.
    End(End),
}

/// The start of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema: u32,
    /// The whole text given to the model, special tokens in their textual form.
    pub prompt: String,
    /// Length of the prompt in tokens.
    pub prompt_tokens: usize,
    /// Source of each guiding test, in the order of [`Execution::tests`].
    pub guiding_tests: Vec<String>,
    /// False when the task has no usable guiding test, so that the session runs unguided.
    pub guided: bool,
    /// Everything about the method that the decisions depend on, as the configuration gave it.
    pub policy: serde_json::Value,
}

/// One turn of the loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Counts from 0 within the session.
    pub step: usize,
    /// All that was learnt about each sampled continuation, ordered by sample index. Empty for methods (or
    /// steps) that decode the line directly.
    pub candidates: Vec<Candidate>,
    /// The text made of the candidates' execution traces, placed in the conditional prompt; with its size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// Token by token record of a line that was decoded directly (greedy or under guidance).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<DecodedToken>,
    /// What was committed, and why.
    pub decision: Decision,
}

/// A sampled continuation of the prefix, up to `horizon` lines long, and the evidence about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Sample index; never completion order.
    pub index: usize,
    /// The whole continuation as sampled.
    pub text: String,
    /// Its first line: what a commit of this candidate would append to the prefix.
    pub line: String,
    /// Token ids of `line`.
    pub line_tokens: Vec<u32>,
    /// Number of sampled tokens in `text`.
    pub tokens: usize,
    /// Sum of the log-probabilities (natural log, of the plain model at temperature 1) of all its tokens.
    pub logprob: f64,
    /// The same, of the tokens of `line` only.
    pub line_logprob: f64,
    /// Why it ended: `horizon`, `end` (end of text or fence), `length`.
    pub ended: String,
    /// What the parser says of prefix + `line`.
    pub class: LineClass,
    /// Parser's verdict on prefix + `text`.
    pub gate: Gate,
    /// Index of an earlier candidate with the same text; its evidence is then the same by construction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<usize>,
    /// What happened when prefix + `text`, completed minimally, ran on the guiding tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<Execution>,
}

/// What a line does to the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineClass {
    /// After it the prefix, completed minimally, can run.
    Executable,
    /// Cannot run yet: open bracket, open string, open block header, decorator …
    Fragment,
    /// No continuation can make it valid Python.
    Invalid,
}

/// The parser's verdict on a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Gate {
    /// Valid as it stands.
    Complete,
    /// Not valid yet, but some continuation may be.
    Incomplete,
    /// No continuation is valid.
    Invalid {
        /// CPython's message.
        message: String,
    },
}

/// What happened when a candidate ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    /// The program that ran: prefix + candidate, completed minimally.
    pub program: String,
    /// One verdict a guiding test, in their order.
    pub tests: Vec<TestVerdict>,
    /// Number of tests passed.
    pub passed: usize,
}

/// The outcome of one test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestVerdict {
    /// `passed`, `failed`, `exception`, `timeout`, `memory`, `output`, `killed`, `forbidden`,
    /// `syntax_error`, `harness_error`.
    pub kind: String,
    /// One line about it, such as `ValueError: bad input (line 7)`; empty when passed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// The execution feedback shown to the conditional stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// The text, as placed in the conditional prompt.
    pub text: String,
    /// Length of the conditional prompt (with the committed lines) in tokens.
    pub prompt_tokens: usize,
    /// True when a cap on events, bytes or total size cut it.
    pub capped: bool,
}

/// One token of a line that was decoded directly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecodedToken {
    /// Token id.
    pub id: u32,
    /// Its text (lossy where it is part of a character).
    pub text: String,
    /// The leading alternatives, best first by the mixed distribution, this token among them.
    pub top: Vec<Alternative>,
}

/// One alternative at a position.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// Token id.
    pub id: u32,
    /// log p: log-probability under the plain prompt.
    pub p: f32,
    /// log q: log-probability under the prompt with the signal. Absent where no guidance was on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q: Option<f32>,
}

/// What a step committed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// How the line was found.
    pub source: Source,
    /// The committed text: exactly one line with content (blank lines before it go with it), its newline
    /// included; for `sample` the whole chosen program. Empty when the session ends without a commit.
    pub text: String,
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// One sentence for the reader: why this one.
    pub reason: String,
    /// Set when the session ends with this step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<EndReason>,
}

/// How a committed line was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Source {
    /// Decoded greedily from the plain stream.
    Greedy,
    /// Decoded under guidance.
    Guided,
    /// The line of this candidate.
    Candidate {
        /// Its sample index.
        index: usize,
    },
    /// Nothing was committed.
    Nothing,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The model ended its text.
    EndOfText,
    /// The model closed the code fence.
    Fence,
    /// The committed program passes all guiding tests.
    TestsPassed,
    /// The budget of lines is spent.
    LineBudget,
    /// The budget of tokens is spent.
    TokenBudget,
    /// The budget of time is spent. A session that ends so is not reproducible, and says so here.
    TimeBudget,
    /// Every candidate was invalid.
    NoViableCandidate,
    /// It was not run: an earlier cell had solved the task. Stands in results only; such a session has no trace.
    Skipped,
}

/// The end of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// Why.
    pub reason: EndReason,
    /// The final program.
    pub program: String,
}
