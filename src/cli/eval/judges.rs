//! Who judges the programs of runs: the sandbox once more, or a command of the user's.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

use vigor::report::export::{Format, export};
use vigor::report::outcomes::Tests;
use vigor::report::rejudge::{SessionAt, Verdict};
use vigor::report::{Judge, Study, Unjudged};
use vigor::run::config::SandboxSection;
use vigor::score::{Sample, SampleVerdict, ScoreOptions, TestSet, score};
use vigor::task::Task;

use super::execution::Execution;
use crate::cli::exit::{BAD_INPUT, FAILURE, Failure, INTERRUPTED, USAGE, WRITE};
use crate::cli::progress::SampleBar;
use crate::cli::{Interrupt, watched};

/// Runs every program on its task's tests again, under the limits of its run; and the samples of the cell `beside`, which were
/// run on guiding tests only, on the held-out ones.
pub fn internal(
    study: &mut Study,
    tasks: &[Task],
    beside: Option<&str>,
    execution: &Execution,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let by_name: HashMap<&str, usize> = tasks.iter().map(|task| task.id.as_str()).zip(0..).collect();
    let place = |name: &str| {
        let place = by_name.get(name).copied();
        place.ok_or_else(|| Failure::message(BAD_INPUT, format!("the dataset has no task {name}")))
    };
    let unjudged = beside.map_or(Ok(Vec::new()), |sample| study.unjudged_samples(sample))?;
    let (mut all, mut of_samples) = (Vec::new(), Vec::new());
    for (run, of_run) in study.runs.iter().enumerate() {
        let cells = of_run.manifest.cells.len();
        let mut sessions = Vec::new();
        let mut samples = Vec::new();
        for (session, program) in of_run.programs()?.into_iter().enumerate() {
            let Some(program) = program else { continue };
            let name = &of_run.manifest.task_ids[session / cells];
            sessions.push(SessionAt { run, session });
            samples.push(Sample { task: place(name)?, line: 0, program });
        }
        let configured = configured(&of_run.manifest.configuration)?;
        let pool = execution.pool(&configured)?;
        let limits = execution.limits(&configured);
        let more: Vec<&Unjudged> = unjudged.iter().filter(|sample| sample.run == run).collect();
        let bar = SampleBar::new(2 * samples.len() + more.len());
        let judged = |samples: &[Sample], tests: TestSet| {
            let options = ScoreOptions { tests, limits };
            let finished = |_: &SampleVerdict| bar.sample_finished();
            watched(|| score(&pool, tasks, samples, options, interrupt, &finished))
        };
        // Either kind by itself, as in a session: what the tests of one take, those of the other still have.
        for (tests, set) in [(Tests::Guiding, TestSet::Guiding), (Tests::HeldOut, TestSet::HeldOut)] {
            let verdicts = judged(&samples, set)?;
            let verdict = |(&of, told): (&SessionAt, &SampleVerdict)| Verdict {
                of,
                tests,
                passed: (!told.tests.is_empty()).then_some(told.passed),
            };
            all.extend(sessions.iter().zip(&verdicts).map(verdict));
        }
        let programs = more.iter().map(|of| {
            let task = place(&study.tasks[of.task])?;
            Ok(Sample { task, line: 0, program: of.program.clone() })
        });
        let programs = programs.collect::<Result<Vec<Sample>, Failure>>()?;
        let verdicts = judged(&programs, TestSet::HeldOut)?;
        let known = more.into_iter().zip(verdicts).filter(|(_, told)| !told.tests.is_empty());
        of_samples.extend(known.map(|(of, told)| (of, told.passed)));
        bar.finish();
    }
    study.judge_samples(of_samples);
    study.rejudge(Judge::Internal, "this sandbox", &all);
    Ok(())
}

fn configured(configuration: &serde_json::Value) -> Result<SandboxSection, Failure> {
    let Some(section) = configuration.get("sandbox") else { return Ok(SandboxSection::default()) };
    serde_json::from_value(section.clone())
        .map_err(|error| Failure::message(BAD_INPUT, format!("run_manifest.json, [sandbox]: {error}")))
}

/// A command that judges files of programs.
pub struct External<'a> {
    /// For the shell; `{predictions}` and `{out}` stand for files.
    pub command: &'a str,
    /// What the command reads.
    pub format: Format,
    /// Folder of the files.
    pub dir: &'a Path,
}

impl External<'_> {
    /// Writes the programs of each cell to a file, runs the command on it, and reads its verdicts.
    pub fn judge(&self, study: &mut Study, tasks: &[Task], interrupt: &Interrupt) -> Result<(), Failure> {
        for place in ["{predictions}", "{out}"] {
            if !self.command.contains(place) {
                let reason =
                    format!("--external-command does not say {place}, for which the name of a file is put");
                return Err(Failure::message(USAGE, reason));
            }
        }
        let mut all = Vec::new();
        for (setting, predictions) in export(study, self.format, tasks, self.dir)?.iter().enumerate() {
            let out = predictions.with_extension("verdicts.jsonl");
            self.run(predictions, &out)?;
            if interrupt.load(Ordering::SeqCst) {
                return Err(Failure::message(INTERRUPTED, "interrupted; nothing was evaluated"));
            }
            all.extend(study.read_verdicts(setting, &out)?);
        }
        study.rejudge(Judge::External, &format!("`{}`", self.command), &all);
        Ok(())
    }

    fn run(&self, predictions: &Path, out: &Path) -> Result<(), Failure> {
        // The verdicts of an earlier call are none of this one's.
        match std::fs::remove_file(out) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::message(WRITE, format!("cannot write {}: {error}", out.display())));
            }
            _ => {}
        }
        let command =
            self.command.replace("{predictions}", &quoted(predictions)?).replace("{out}", &quoted(out)?);
        let fail = |reason: String| Failure::message(FAILURE, format!("`{command}` {reason}"));
        // The answer of this program is its own: what the command prints goes beside it.
        let status = Command::new("sh")
            .args(["-c", &command])
            .stdin(Stdio::null())
            .stdout(std::io::stderr())
            .status()
            .map_err(|error| fail(format!("cannot be started: {error}")))?;
        if !status.success() {
            return Err(fail(format!("failed: {status}")));
        }
        if !out.is_file() {
            return Err(fail(format!("did not write {}", out.display())));
        }
        Ok(())
    }
}

/// A path as one word of the shell, which holds wherever the command goes.
fn quoted(path: &Path) -> Result<String, Failure> {
    let absolute: PathBuf = std::path::absolute(path)
        .map_err(|error| Failure::message(WRITE, format!("{}: {error}", path.display())))?;
    let text = absolute.to_str().ok_or_else(|| {
        Failure::message(USAGE, format!("{} is no UTF-8; choose another --out", path.display()))
    })?;
    Ok(format!("'{}'", text.replace('\'', "'\\''")))
}
