//! The files that a run leaves, line by line: types shared by those who write them and those who read them.

use serde::{Deserialize, Serialize};

use crate::session::trace::{EndReason, SessionKey, TestVerdict};

/// One line of `results.jsonl`: what one session came to. No field depends on time or on the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResultRow {
    /// Which session.
    #[serde(flatten)]
    pub session: SessionKey,
    /// The program that the session committed.
    pub program: String,
    /// Verdicts on the guiding tests, and on the held-out tests, of the final program.
    pub guiding: Vec<TestVerdict>,
    /// See `guiding`.
    pub held_out: Vec<TestVerdict>,
    /// All guiding tests passed (false when there are none).
    pub passed_guiding: bool,
    /// All held-out tests passed (false when there are none). This is the score.
    pub passed_held_out: bool,
    /// False when the task had no usable guiding test.
    pub guided: bool,
    /// Steps taken.
    pub steps: usize,
    /// Tokens sampled or decoded, those of discarded candidates included.
    pub generated_tokens: usize,
    /// Tokens of the committed program.
    pub committed_tokens: usize,
    /// Tokens read into the KV cache before the first new one of each request: the prompt, signals, and the last
    /// token of each committed line.
    pub prefill_tokens: usize,
    /// Forward passes that this session took part in; shared passes count once a session.
    pub forward_passes: usize,
    /// Tokens that were guessed ahead under guidance, and those of them that the session then drew: each saved a
    /// forward pass.
    #[serde(default)]
    pub drafted_tokens: usize,
    /// See `drafted_tokens`.
    #[serde(default)]
    pub accepted_tokens: usize,
    /// Programs executed.
    pub executions: usize,
    /// Why the session ended.
    pub end: EndReason,
}

/// One line of `timings.jsonl`: what may differ between two runs of one configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimingRow {
    /// Which session.
    #[serde(flatten)]
    pub session: SessionKey,
    /// Wall time of the session in seconds.
    pub seconds: f64,
    /// Seconds by part of the loop: propose, gate, execute, guide, commit, score.
    pub propose: f64,
    /// See `propose`.
    pub gate: f64,
    /// See `propose`.
    pub execute: f64,
    /// See `propose`.
    pub guide: f64,
    /// See `propose`.
    pub commit: f64,
    /// Final verdicts on guiding and held-out tests.
    pub score: f64,
}
