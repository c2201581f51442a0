//! Verdicts of somebody else in place of those that the runs recorded.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ReportError;
use super::outcomes::Tests;
use super::read::parse;
use super::study::Study;
use crate::run::RunError;

/// Differences that a note names; the others are counted.
const NAMED: usize = 10;

/// Who says whether a program passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Judge {
    /// The run itself, when the session ended.
    #[default]
    StatusOnly,
    /// The sandbox, once more.
    Internal,
    /// A command of the user's.
    External,
}

/// A session of a study: the run, and the number in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionAt {
    /// The run.
    pub run: usize,
    /// The session's number in it.
    pub session: usize,
}

/// A line of what a command said.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    One { task_id: String, passed: bool },
    EvalPlus { eval: HashMap<String, Vec<EvalPlusResult>> },
}

/// What EvalPlus says of a program: on the benchmark's own tests and, if it was asked for, on its additional ones.
#[derive(Deserialize)]
struct EvalPlusResult {
    base_status: String,
    plus_status: Option<String>,
}

impl EvalPlusResult {
    fn passed(&self) -> bool {
        self.base_status == "pass" && self.plus_status.as_ref().is_none_or(|status| status == "pass")
    }
}

/// A new verdict on the program of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The session.
    pub of: SessionAt,
    /// The tests.
    pub tests: Tests,
    /// Whether all of them passed; `None` where there are none.
    pub passed: Option<bool>,
}

impl Study {
    /// The finished sessions of a setting: task by task, and for each task seed by seed, as exports have them.
    pub fn finished(&self, setting: usize) -> impl Iterator<Item = (usize, SessionAt)> {
        let attempts = &self.settings[setting].attempts;
        (0..self.tasks.len()).flat_map(move |task| {
            attempts.iter().filter_map(move |&attempt| {
                let session = self.session(attempt, task)?;
                let run = attempt.run;
                self.runs[run].outcomes[session].is_some().then_some((task, SessionAt { run, session }))
            })
        })
    }

    /// Puts verdicts in the place of the recorded ones, and notes how many differ from those.
    pub fn rejudge(&mut self, judge: Judge, by: &str, verdicts: &[Verdict]) {
        let mut differing = Vec::new();
        for verdict in verdicts {
            let SessionAt { run, session } = verdict.of;
            let Some(outcome) = &mut self.runs[run].outcomes[session] else { continue };
            let recorded = match verdict.tests {
                Tests::HeldOut => &mut outcome.held_out,
                Tests::Guiding => &mut outcome.guiding,
            };
            if std::mem::replace(recorded, verdict.passed) != verdict.passed {
                differing.push(self.difference(verdict));
            }
        }
        let more = differing.len().saturating_sub(NAMED);
        let mut note = format!(
            "verdicts by {by}: {} of {} differ from the recorded ones",
            differing.len(),
            verdicts.len()
        );
        if !differing.is_empty() {
            differing.truncate(NAMED);
            note += &format!(": {}", differing.join("; "));
        }
        if more > 0 {
            note += &format!("; and {more} more");
        }
        self.notes.push(note);
        self.judge = judge;
    }

    fn difference(&self, verdict: &Verdict) -> String {
        let manifest = &self.runs[verdict.of.run].manifest;
        let cells = manifest.cells.len();
        let kind = match verdict.tests {
            Tests::HeldOut => "held-out",
            Tests::Guiding => "guiding",
        };
        let now = match verdict.passed {
            Some(true) => "now passed",
            Some(false) => "now not passed",
            None => "now without tests",
        };
        format!(
            "{} {} ({kind} {now})",
            manifest.task_ids[verdict.of.session / cells],
            manifest.cells[verdict.of.session % cells].name
        )
    }

    /// Reads what a command said of a setting's exported programs: a JSON object `{"task_id", "passed"}` a line, for
    /// each program one, those of a task in the order in which they were exported; or the results of EvalPlus.
    ///
    /// # Errors
    /// When the file cannot be read, or has not one verdict for each program.
    pub fn read_verdicts(&self, setting: usize, path: &Path) -> Result<Vec<Verdict>, ReportError> {
        // Exports may write a name in other letters.
        let mut told: HashMap<String, Vec<bool>> = HashMap::new();
        let mut hear = |task: &str, passed| told.entry(task.to_lowercase()).or_default().push(passed);
        let text = std::fs::read_to_string(path).map_err(|e| RunError::io("read", path, e))?;
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            match parse(path, at + 1, line.as_bytes())? {
                Line::One { task_id, passed } => hear(&task_id, passed),
                Line::EvalPlus { eval } => {
                    for (task, results) in &eval {
                        results.iter().for_each(|result| hear(task, result.passed()));
                    }
                }
            }
        }
        let wrong = |reason: String| ReportError::Verdicts { path: path.to_owned(), reason };
        let mut wanted: Vec<(usize, Vec<SessionAt>)> = Vec::new();
        for (task, of) in self.finished(setting) {
            match wanted.last_mut() {
                Some((last, sessions)) if *last == task => sessions.push(of),
                _ => wanted.push((task, vec![of])),
            }
        }
        let mut verdicts = Vec::new();
        for (task, sessions) in wanted {
            let name = &self.tasks[task];
            let passed = told.remove(&name.to_lowercase()).unwrap_or_default();
            if passed.len() != sessions.len() {
                return Err(wrong(format!(
                    "{} verdicts on {} programs of {name}",
                    passed.len(),
                    sessions.len()
                )));
            }
            let verdict = |(of, passed)| Verdict { of, tests: Tests::HeldOut, passed: Some(passed) };
            verdicts.extend(sessions.into_iter().zip(passed).map(verdict));
        }
        match told.into_keys().min() {
            Some(name) => Err(wrong(format!("verdicts on {name:?}, of which no program was given"))),
            None => Ok(verdicts),
        }
    }
}
