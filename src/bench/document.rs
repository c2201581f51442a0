//! What a benchmark writes down.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use crate::run::ModelInfo;
use crate::session::outcome::Seconds;
use crate::task::Task;

/// One run of the benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Version of vigor.
    pub vigor: String,
    /// When it ended: `2026-01-31T12:00:00Z`.
    pub date: String,
    /// Where.
    pub machine: Machine,
    /// Of what.
    pub model: ModelInfo,
    /// Bytes that a forward pass reads of the weights.
    pub weight_bytes: usize,
    /// Bytes of keys and values a token.
    pub kv_bytes_per_token: usize,
    /// Repetitions of each row.
    pub repeat: usize,
    /// The most memory in use while the model was loaded and the rows were measured, in bytes.
    pub peak_memory_bytes: u64,
    /// What was measured.
    pub rows: Vec<Row>,
    /// What the rows `step` and `session` solve; absent without them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Solved>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name, the same in every run with the same settings.
    pub name: String,
    /// What the milliseconds are those of: `prompt`, `token` (of each sequence), `step`, `session`.
    pub unit: String,
    /// Sequences that advance together.
    pub sequences: usize,
    /// Tokens of the longest sequence before decoding begins; 0 where the row decides itself.
    pub prefix: usize,
    /// Tokens of one repetition: read by `prefill`, new and of all sequences elsewhere.
    pub tokens: usize,
    /// Those tokens a second.
    pub tokens_per_second: Summary,
    /// Milliseconds a unit.
    pub milliseconds: Summary,
    /// Bytes of weights, keys and values that must be read, a second, in 10⁹; of the median repetition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gb_per_second: Option<f64>,
    /// The same, as a part of the machine's limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_read_bandwidth: Option<f64>,
    /// Multiplications and additions of the model a second, in 10⁹; of the median repetition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gflop_per_second: Option<f64>,
    /// The same, as a part of the machine's limit: f32 of a processor, bf16 of a GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_fma_rate: Option<f64>,
    /// Pages of keys and values in use at the end of a repetition, those of other rows included.
    pub pages: usize,
    /// The most memory that the process had in use meanwhile, in bytes, the model included.
    pub peak_memory_bytes: u64,
    /// Milliseconds a step by part, means; only of `step` and `session`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<Parts>,
    /// What a repetition did; only of `step` and `session`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<StepCounts>,
}

/// Milliseconds by part of the loop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Parts {
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
    /// What is in none of them: tokenizing, records, the final verdicts.
    pub rest: f64,
}

impl Parts {
    /// The parts of `steps` steps that took so long in all.
    pub(super) fn new(seconds: &Seconds, total: f64, steps: usize) -> Self {
        let ms = |seconds: f64| 1e3 * seconds / steps.max(1) as f64;
        let Seconds { propose, gate, execute, guide, commit, .. } = *seconds;
        Self {
            propose: ms(propose),
            gate: ms(gate),
            execute: ms(execute),
            guide: ms(guide),
            commit: ms(commit),
            rest: ms(total - propose - gate - execute - guide - commit),
        }
    }

    /// The mean of several.
    pub(super) fn mean(all: &[Self]) -> Self {
        let mean = |part: fn(&Self) -> f64| all.iter().map(part).sum::<f64>() / all.len().max(1) as f64;
        Self {
            propose: mean(|p| p.propose),
            gate: mean(|p| p.gate),
            execute: mean(|p| p.execute),
            guide: mean(|p| p.guide),
            commit: mean(|p| p.commit),
            rest: mean(|p| p.rest),
        }
    }

    /// Names and values, in the order of the loop.
    pub fn named(&self) -> [(&'static str, f64); 6] {
        [
            ("propose", self.propose),
            ("gate", self.gate),
            ("execute", self.execute),
            ("guide", self.guide),
            ("commit", self.commit),
            ("rest", self.rest),
        ]
    }
}

/// What the loop did in one repetition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepCounts {
    /// Steps that the row is about.
    pub steps: usize,
    /// Tokens of the committed program.
    pub committed_tokens: usize,
    /// Tokens sampled or decoded, those of discarded candidates included.
    pub generated_tokens: usize,
    /// Tokens read.
    pub prefill_tokens: usize,
    /// Forward passes.
    pub forward_passes: usize,
    /// Programs executed.
    pub executions: usize,
}

/// The task of `step` and `session` and the prompts made of it, for other implementations to solve the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Solved {
    /// The task.
    pub task: Task,
    /// The method of `session` with its parameters.
    pub method: serde_json::Value,
    /// Lines at most.
    pub max_lines: usize,
    /// Tokens of the program at most.
    pub max_tokens: usize,
    /// The plain prompt.
    pub prompt: String,
    /// Its length in tokens.
    pub prompt_tokens: usize,
    /// The conditional prompt, with `SIGNAL` where the signal goes.
    pub conditional_prompt: String,
    /// The beginning of the program that the prompt ends with.
    pub program: String,
    /// The program that the session wrote, when that row was measured.
    pub written: Option<String>,
}

/// Several repetitions of one number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Mean.
    pub mean: f64,
    /// Standard deviation (of a sample: n − 1); 0 for one repetition.
    pub sd: f64,
    /// Median.
    pub median: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

impl Summary {
    /// Summarises; all zero for none.
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (sorted.first(), sorted.last()) else {
            return Self { mean: 0.0, sd: 0.0, median: 0.0, min: 0.0, max: 0.0 };
        };
        let n = sorted.len();
        let mean = sorted.iter().sum::<f64>() / n as f64;
        let squares: f64 = sorted.iter().map(|v| (v - mean).powi(2)).sum();
        let sd = if n > 1 { (squares / (n - 1) as f64).sqrt() } else { 0.0 };
        Self { mean, sd, median: (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0, min, max }
    }
}

/// Now, as `2026-01-31T12:00:00Z`.
pub(super) fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
    date(seconds)
}

/// A time in seconds since 1970 (UTC) in ISO 8601.
fn date(seconds: u64) -> String {
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (hours, minutes) = (second / 3600, second / 60 % 60);
    format!("{year}-{:02}-{:02}T{hours:02}:{minutes:02}:{:02}Z", month + 1, days + 1, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(date(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(date(1_798_761_600), "2027-01-01T00:00:00Z");
    }

    #[test]
    fn a_summary_is_that_of_the_textbook() {
        let summary = Summary::of(&[4.0, 2.0, 9.0, 5.0]);
        assert_eq!((summary.mean, summary.median, summary.min, summary.max), (5.0, 4.5, 2.0, 9.0));
        assert!((summary.sd - (26.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(Summary::of(&[3.0]).sd, 0.0);
    }
}
