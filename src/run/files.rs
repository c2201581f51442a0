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
    /// Name of the cell that had solved the task before, where this session was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub solved_by: Option<String>,
}

impl ResultRow {
    /// A session that was not run because another cell had solved its task.
    pub fn skipped(session: SessionKey, guided: bool, solved_by: &str) -> Self {
        Self {
            session,
            program: String::new(),
            guiding: Vec::new(),
            held_out: Vec::new(),
            passed_guiding: false,
            passed_held_out: false,
            guided,
            steps: 0,
            generated_tokens: 0,
            committed_tokens: 0,
            prefill_tokens: 0,
            forward_passes: 0,
            drafted_tokens: 0,
            accepted_tokens: 0,
            executions: 0,
            end: EndReason::Skipped,
            solved_by: Some(solved_by.to_owned()),
        }
    }

    /// Whether all held-out tests passed; `None` where there is none. Such a session counts in no rate of held-out tests.
    pub fn held_out_verdict(&self) -> Option<bool> {
        (!self.held_out.is_empty()).then_some(self.passed_held_out)
    }

    /// Whether the session was not run. It says nothing about its cell then, and counts in no rate.
    pub fn is_skipped(&self) -> bool {
        self.end == EndReason::Skipped
    }
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

impl TimingRow {
    /// That of a session that was not run.
    pub fn skipped(session: SessionKey) -> Self {
        Self {
            session,
            seconds: 0.0,
            propose: 0.0,
            gate: 0.0,
            execute: 0.0,
            guide: 0.0,
            commit: 0.0,
            score: 0.0,
        }
    }
}
