//! What the sessions of a run came to, in a few bytes each: enough for every number of a comparison, so that large grids fit
//! into memory. Traces are not read.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::ReportError;
use super::read::{Doubts, HARNESS_ERROR, Sessions, each_line, parse, place, unfinished};
use crate::run::RunManifest;
use crate::session::trace::EndReason;

/// One of the two kinds of tests, whose numbers are never mixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tests {
    /// Those that only the score runs.
    HeldOut,
    /// Those that may run while a program is written.
    Guiding,
}

/// What one session came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Whether all held-out tests passed; `None` where the task has none.
    pub held_out: Option<bool>,
    /// Whether all guiding tests passed; `None` where the task has none.
    pub guiding: Option<bool>,
    /// Tokens sampled or decoded, those of discarded candidates included.
    pub tokens: usize,
    /// Tokens read before the first new one of each request.
    pub prefill: usize,
    /// Forward passes that the session took part in.
    pub forward_passes: usize,
    /// Programs executed.
    pub executions: usize,
    /// Wall time; `None` where it was not recorded.
    pub seconds: Option<f64>,
    /// Equal for equal programs, see [`fingerprint`].
    pub program: u64,
}

impl Outcome {
    /// Whether all tests of that kind passed; `None` where there are none.
    pub fn passed(&self, tests: Tests) -> Option<bool> {
        match tests {
            Tests::HeldOut => self.held_out,
            Tests::Guiding => self.guiding,
        }
    }
}

/// Stands for a program where only its identity matters.
pub fn fingerprint(program: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    program.hash(&mut hasher);
    hasher.finish()
}

/// A run's manifest and outcomes.
#[derive(Debug)]
pub struct RunOutcomes {
    /// The folder, as it was given.
    pub dir: PathBuf,
    /// What the run was made of.
    pub manifest: RunManifest,
    /// One a session, in session order; `None` where it is not finished or was skipped.
    pub outcomes: Vec<Option<Outcome>>,
    /// Sessions that were not run because an earlier cell had solved their task. They are no attempts.
    pub skipped: usize,
    /// The seed of each cell.
    pub seeds: Vec<u64>,
    /// What a reader should know.
    pub warnings: Vec<String>,
}

impl RunOutcomes {
    /// Reads the manifest, the results and the timings.
    ///
    /// # Errors
    /// When a file is missing, malformed, of a newer schema, or does not fit the manifest.
    pub fn load(dir: &Path) -> Result<Self, ReportError> {
        let manifest = RunManifest::load(dir)?;
        let sessions = Sessions::new(&manifest);
        let mut outcomes: Vec<Option<Outcome>> = vec![None; manifest.sessions()];
        let mut seeds: Vec<Option<u64>> = vec![None; manifest.cells.len()];
        let mut warnings = Vec::new();
        let (mut seen, mut skipped, mut doubts) = (vec![None; outcomes.len()], 0, Doubts::default());

        let path = dir.join("results.jsonl");
        warnings.extend(each_line(&path, |line, bytes| {
            let row: ResultLine = parse(&path, line, bytes)?;
            let session = sessions.find(&path, line, &row.task_id, &row.cell)?;
            place(&mut seen, session, (), &path, line)?;
            doubts.unjudged += usize::from(row.held_out.unjudged || row.guiding.unjudged);
            doubts.by_time += usize::from(row.end == EndReason::TimeBudget);
            if row.end == EndReason::Skipped {
                skipped += 1;
            } else {
                outcomes[session] = Some(row.outcome());
            }
            let seed = seeds[session % manifest.cells.len()].get_or_insert(row.seed);
            if *seed != row.seed {
                let reason = format!("seed {} in a cell whose seed is {seed}", row.seed);
                return Err(ReportError::Inconsistent { path: path.clone(), line, reason });
            }
            Ok(())
        })?);
        let path = dir.join("timings.jsonl");
        let mut timed = vec![None; outcomes.len()];
        warnings.extend(each_line(&path, |line, bytes| {
            let row: TimingLine = parse(&path, line, bytes)?;
            let session = sessions.find(&path, line, &row.task_id, &row.cell)?;
            place(&mut timed, session, (), &path, line)?;
            if let Some(outcome) = &mut outcomes[session] {
                outcome.seconds = Some(row.seconds);
            }
            Ok(())
        })?);
        warnings.extend(doubts.warnings());
        warnings.extend(unfinished(seen.iter().flatten().count(), outcomes.len()));
        let given = manifest.cells.iter().map(|cell| manifest.seed_of(cell));
        let seeds = seeds.into_iter().zip(given).map(|(seed, given)| seed.unwrap_or(given)).collect();
        Ok(Self { dir: dir.to_owned(), manifest, outcomes, seeds, skipped, warnings })
    }

    /// Reads the program of each session, in session order; `None` where it is not finished or was skipped.
    ///
    /// # Errors
    /// When the results cannot be read, or are not what they were when the run was loaded.
    pub fn programs(&self) -> Result<Vec<Option<String>>, ReportError> {
        let path = self.dir.join("results.jsonl");
        let sessions = Sessions::new(&self.manifest);
        let mut programs = vec![None; self.outcomes.len()];
        each_line(&path, |line, bytes| {
            let row: ProgramLine = parse(&path, line, bytes)?;
            let session = sessions.find(&path, line, &row.task_id, &row.cell)?;
            programs[session] = self.outcomes[session].map(|_| row.program);
            Ok(())
        })?;
        Ok(programs)
    }

    /// The outcome of a task in a cell, both by their place in the manifest.
    pub fn outcome(&self, task: usize, cell: usize) -> Option<&Outcome> {
        self.outcomes[task * self.manifest.cells.len() + cell].as_ref()
    }
}

/// What is needed of a line of `results.jsonl`; the rest is skipped without being kept.
#[derive(Deserialize)]
struct ResultLine<'a> {
    #[serde(borrow)]
    task_id: Cow<'a, str>,
    #[serde(borrow)]
    cell: Cow<'a, str>,
    seed: u64,
    #[serde(borrow)]
    program: Cow<'a, str>,
    guiding: Verdicts,
    held_out: Verdicts,
    passed_guiding: bool,
    passed_held_out: bool,
    generated_tokens: usize,
    prefill_tokens: usize,
    forward_passes: usize,
    executions: usize,
    end: EndReason,
}

impl ResultLine<'_> {
    fn outcome(&self) -> Outcome {
        Outcome {
            held_out: (self.held_out.count > 0).then_some(self.passed_held_out),
            guiding: (self.guiding.count > 0).then_some(self.passed_guiding),
            tokens: self.generated_tokens,
            prefill: self.prefill_tokens,
            forward_passes: self.forward_passes,
            executions: self.executions,
            seconds: None,
            program: fingerprint(&self.program),
        }
    }
}

/// What is needed of a line of `results.jsonl` for the programs.
#[derive(Deserialize)]
struct ProgramLine<'a> {
    #[serde(borrow)]
    task_id: Cow<'a, str>,
    #[serde(borrow)]
    cell: Cow<'a, str>,
    program: String,
}

/// What is needed of a line of `timings.jsonl`.
#[derive(Deserialize)]
struct TimingLine<'a> {
    #[serde(borrow)]
    task_id: Cow<'a, str>,
    #[serde(borrow)]
    cell: Cow<'a, str>,
    seconds: f64,
}

/// What is needed of a list of verdicts.
#[derive(Default)]
struct Verdicts {
    count: usize,
    /// Whether one of them says that the harness failed.
    unjudged: bool,
}

impl<'de> Deserialize<'de> for Verdicts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Kind<'a> {
            #[serde(borrow)]
            kind: Cow<'a, str>,
        }
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Verdicts;
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a list of verdicts")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Verdicts, A::Error> {
                let mut verdicts = Verdicts::default();
                while let Some(Kind { kind }) = list.next_element()? {
                    verdicts.count += 1;
                    verdicts.unjudged |= kind == HARNESS_ERROR;
                }
                Ok(verdicts)
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}
