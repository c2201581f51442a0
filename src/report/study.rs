//! Runs side by side: tasks matched by name, cells of one configuration gathered over their seeds.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::ReportError;
use super::outcomes::{Outcome, RunOutcomes, Tests};
use super::rejudge::Judge;
use crate::run::grid::Cell;
use crate::run::{Part, RunManifest};

/// One or more runs of one dataset.
#[derive(Debug)]
pub struct Study {
    /// The runs, in the order given.
    pub runs: Vec<RunOutcomes>,
    /// The tasks of all runs: those of the first in its order, then those that only later ones have.
    pub tasks: Vec<String>,
    /// The configurations, in the order in which the runs have them.
    pub settings: Vec<Setting>,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// Who says whether a program passed.
    pub judge: Judge,
    /// Held-out verdicts of programs that no session ended in, by task and fingerprint: see [`Self::unjudged_samples`].
    pub(super) judged: HashMap<(usize, u64), bool>,
    /// For each run, the place of each task in its manifest.
    places: Vec<Vec<Option<usize>>>,
}

/// A method with one setting of everything that results depend on, except for the seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The cell's name without its seed; with the runs' names before it where several settings share that.
    pub name: String,
    /// The method.
    pub method: String,
    /// Its guidance strength γ, if it guides.
    pub gamma: Option<f64>,
    /// The model.
    pub model: String,
    /// The cells with this setting, one a seed. Each attempts every task of its run once.
    pub attempts: Vec<Attempt>,
}

/// A cell of a run, as one attempt at each task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The run.
    pub run: usize,
    /// The cell in it.
    pub cell: usize,
    /// The seed.
    pub seed: u64,
}

impl Setting {
    /// Whether its attempts cannot differ.
    pub fn ignores_the_seed(&self) -> bool {
        self.method == "greedy"
    }

    /// Whether a task has one attempt, or copies of one.
    pub fn is_one_attempt(&self) -> bool {
        self.attempts.len() == 1 || self.ignores_the_seed()
    }
}

impl Study {
    /// Reads the runs in these folders.
    ///
    /// # Errors
    /// When a file is missing or malformed, a run is given twice, or the runs are of different datasets.
    pub fn open(dirs: &[PathBuf]) -> Result<Self, ReportError> {
        let mut runs = Vec::new();
        for (at, dir) in dirs.iter().enumerate() {
            let same = |other: &PathBuf| other.canonicalize().ok() == dir.canonicalize().ok();
            if dir.exists() && dirs[..at].iter().any(same) {
                return Err(ReportError::Twice { dir: dir.clone() });
            }
            runs.push(RunOutcomes::load(dir)?);
        }
        let [first, others @ ..] = runs.as_slice() else { return Err(ReportError::NoRun) };
        for run in others {
            let (a, b) = (&first.manifest.dataset, &run.manifest.dataset);
            if a.sha256 != b.sha256 || adapter(&first.manifest) != adapter(&run.manifest) {
                let name = |run: &RunOutcomes| {
                    let hash = shortened(&run.manifest.dataset.sha256);
                    format!("{} ({hash}, read as {})", run.manifest.dataset.name, adapter(&run.manifest))
                };
                return Err(ReportError::Datasets {
                    a: first.dir.clone(),
                    of_a: name(first),
                    b: run.dir.clone(),
                    of_b: name(run),
                });
            }
        }

        let mut tasks: Vec<String> = Vec::new();
        let mut known: HashMap<&str, usize> = HashMap::new();
        for task in runs.iter().flat_map(|run| &run.manifest.task_ids) {
            known.entry(task).or_insert_with(|| {
                tasks.push(task.clone());
                tasks.len() - 1
            });
        }
        let mut places = vec![vec![None; tasks.len()]; runs.len()];
        for (places, run) in places.iter_mut().zip(&runs) {
            for (place, task) in run.manifest.task_ids.iter().enumerate() {
                places[known[task.as_str()]] = Some(place);
            }
        }

        let labels = labels(&runs);
        let mut notes: Vec<String> = Vec::new();
        for (run, label) in runs.iter().zip(&labels) {
            let place = if runs.len() > 1 { format!("{label}: ") } else { String::new() };
            notes.extend(run.warnings.iter().map(|warning| format!("{place}{warning}")));
            if run.skipped > 0 {
                notes.push(format!(
                    "{place}{} sessions were skipped because an earlier cell had solved their task (stop_when_solved): a cell's rate is \
                     that of the tasks which were left to it, not pass@1, and cells are not compared",
                    run.skipped
                ));
            }
        }
        notes.extend(others_differ(&runs, &labels));
        notes.extend(several_builds(&runs));
        let mut settings = settings(&runs);
        name(&mut settings, &labels);
        for setting in &settings {
            if setting.ignores_the_seed() && setting.attempts.len() > 1 {
                notes.push(format!(
                    "{}: the seed changes nothing about this method, so its {} attempts are copies and say nothing about pass@k",
                    setting.name,
                    setting.attempts.len()
                ));
            }
        }
        Ok(Self { runs, tasks, settings, notes, judge: Judge::default(), judged: HashMap::new(), places })
    }

    /// The place of the setting with that name. `gamma=` may stand for `γ=`.
    ///
    /// # Errors
    /// When there is none: the error lists the names.
    pub fn setting(&self, name: &str) -> Result<usize, ReportError> {
        let typed = name.replace("gamma=", "γ=");
        let found = self.settings.iter().position(|s| s.name == name).or_else(|| {
            self.settings.iter().position(|setting| setting.name.replace("gamma=", "γ=") == typed)
        });
        found.ok_or_else(|| ReportError::NoCell {
            name: name.to_owned(),
            known: self.settings.iter().map(|setting| setting.name.clone()).collect(),
        })
    }

    /// The outcome of a task in an attempt.
    pub fn outcome(&self, attempt: Attempt, task: usize) -> Option<&Outcome> {
        self.runs[attempt.run].outcome(self.places[attempt.run][task]?, attempt.cell)
    }

    /// Whether sessions were skipped because an earlier cell had solved their task. A cell's tasks are then those that earlier ones
    /// failed, so that cells cannot be compared.
    pub fn skips(&self) -> bool {
        self.runs.iter().any(|run| run.skipped > 0)
    }

    /// Whether a run skipped sessions because the tests that score it had been passed.
    pub fn stopped_by_held_out_tests(&self) -> bool {
        let stopped = |run: &RunOutcomes| {
            run.skipped > 0 && run.manifest.configuration["run"]["stop_when_solved"] == "held-out"
        };
        self.runs.iter().any(stopped)
    }

    /// The number, in its run, of a task's session in an attempt.
    pub fn session(&self, attempt: Attempt, task: usize) -> Option<usize> {
        let place = self.places[attempt.run][task]?;
        Some(place * self.runs[attempt.run].manifest.cells.len() + attempt.cell)
    }

    /// Whether a run has a task.
    pub fn has(&self, run: usize, task: usize) -> bool {
        self.places[run][task].is_some()
    }

    /// The outcomes of a task in a setting: at most one a seed.
    pub fn outcomes(&self, setting: usize, task: usize) -> impl Iterator<Item = &Outcome> {
        self.settings[setting].attempts.iter().filter_map(move |&attempt| self.outcome(attempt, task))
    }

    /// Attempts at a task that passed, and those that were judged.
    pub fn count(&self, setting: usize, task: usize, tests: Tests) -> (usize, usize) {
        let judged = self.outcomes(setting, task).filter_map(|outcome| outcome.passed(tests));
        judged.fold((0, 0), |(passed, all), this| (passed + usize::from(this), all + 1))
    }

    /// The share of attempts that passed, for each task; `None` where none was judged.
    pub fn rates(&self, setting: usize, tests: Tests) -> Vec<Option<f64>> {
        let rate = |task| match self.count(setting, task, tests) {
            (_, 0) => None,
            (passed, all) => Some(passed as f64 / all as f64),
        };
        (0..self.tasks.len()).map(rate).collect()
    }
}

/// The runs' names where these tell them apart, else their folders.
fn labels(runs: &[RunOutcomes]) -> Vec<String> {
    let alone =
        |run: &RunOutcomes| runs.iter().filter(|other| other.manifest.name == run.manifest.name).count() == 1;
    let label = |run| if alone(run) { run.manifest.name.clone() } else { run.dir.display().to_string() };
    runs.iter().map(label).collect()
}

/// Gathers the cells by configuration. A seed that a setting has already opens another one: a configuration that was run again is
/// compared with itself, as its copies are no attempts of their own.
fn settings(runs: &[RunOutcomes]) -> Vec<Setting> {
    let mut settings: Vec<Setting> = Vec::new();
    let mut alike: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, run) in runs.iter().enumerate() {
        let of_run = of_run(&run.manifest);
        for (cell, (config, &seed)) in run.manifest.cells.iter().zip(&run.seeds).enumerate() {
            let attempt = Attempt { run: at, cell, seed };
            let alike = alike.entry(json!([of_run, of_cell(config)]).to_string()).or_default();
            let new = |setting: &usize| settings[*setting].attempts.iter().all(|other| other.seed != seed);
            if let Some(setting) = alike.iter().copied().find(new) {
                settings[setting].attempts.push(attempt);
                continue;
            }
            alike.push(settings.len());
            settings.push(Setting {
                name: without_seed(&config.name),
                method: config.config.name().to_owned(),
                gamma: config.config.gamma(),
                model: run.manifest.model.name.clone(),
                attempts: vec![attempt],
            });
        }
    }
    settings
}

/// Puts the runs' names before names that several settings have.
fn name(settings: &mut [Setting], labels: &[String]) {
    let mut times: HashMap<String, usize> = HashMap::new();
    for setting in settings.iter() {
        *times.entry(setting.name.clone()).or_default() += 1;
    }
    for setting in settings.iter_mut().filter(|setting| times[&setting.name] > 1) {
        let mut runs: Vec<&str> = setting.attempts.iter().map(|a| labels[a.run].as_str()).collect();
        runs.dedup();
        setting.name = format!("{}: {}", runs.join("+"), setting.name);
    }
}

/// What all cells of a run share and results depend on. What was selected of the dataset is not part of it: tasks are matched
/// one by one.
fn of_run(manifest: &RunManifest) -> Value {
    let mut configuration = manifest.configuration.clone();
    for (section, keys) in [("run", &["name", "seed"][..]), ("model", &["name"])] {
        if let Some(section) = configuration.get_mut(section).and_then(Value::as_object_mut) {
            section.retain(|key, _| !keys.contains(&key.as_str()));
        }
    }
    if let Some(sections) = configuration.as_object_mut() {
        sections.retain(|key, _| key != "cells" && key != "dataset");
    }
    json!({
        "model": { "sha256": manifest.model.sha256, "arithmetic": manifest.model.arithmetic },
        "configuration": configuration,
    })
}

/// What a cell adds to that: all but its name and its seed.
fn of_cell(cell: &Cell) -> Value {
    let mut value = serde_json::to_value(cell).unwrap_or_default();
    let without = |object: &mut Map<String, Value>| object.retain(|key, _| key != "seed" && key != "name");
    if let Some(object) = value.as_object_mut() {
        without(object);
        if let Some(config) = object.get_mut("config").and_then(Value::as_object_mut) {
            without(config);
        }
    }
    value
}

fn without_seed(name: &str) -> String {
    let parts = name
        .split(' ')
        .filter(|part| part.strip_prefix("seed=").is_none_or(|seed| seed.parse::<u64>().is_err()));
    parts.collect::<Vec<_>>().join(" ")
}

/// How the dataset's files were read, on which the tests depend: a dataset that is known by name has its name's adapter.
fn adapter(manifest: &RunManifest) -> &str {
    manifest.configuration["dataset"]["adapter"].as_str().unwrap_or(&manifest.dataset.name)
}

/// Which interpreters and which builds computed the runs, where they are several: the verdicts of the one are not sure to be those of
/// the other.
fn several_builds(runs: &[RunOutcomes]) -> Vec<String> {
    let parts = || runs.iter().flat_map(|run| &run.manifest.parts);
    let note = |what: &str, all: BTreeSet<String>| {
        let names = all.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        (all.len() > 1).then(|| format!("computed by several {what}, on which results may depend: {names}"))
    };
    let pythons = note("versions of Python", parts().map(|part| part.python.clone()).collect());
    let build = |part: &Part| format!("{} ({})", part.vigor, shortened(&part.binary_sha256));
    let builds = note("builds of vigor", parts().map(build).collect());
    pythons.into_iter().chain(builds).collect()
}

/// In what the runs differ from the first, beside their cells and tasks.
fn others_differ(runs: &[RunOutcomes], labels: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    let (first, others) = runs.split_at(1);
    for (run, label) in others.iter().zip(&labels[1..]) {
        let (a, b) = (&first[0].manifest, &run.manifest);
        if a.model.sha256 != b.model.sha256 {
            notes.push(format!(
                "{label} is of another model than {}: {} ({}), not {} ({})",
                labels[0],
                b.model.name,
                shortened(&b.model.sha256),
                a.model.name,
                shortened(&a.model.sha256)
            ));
        } else if a.model.arithmetic != b.model.arithmetic {
            notes.push(format!(
                "{label} was computed on {}, {} on {}",
                b.model.arithmetic, labels[0], a.model.arithmetic
            ));
        }
        let mut keys = Vec::new();
        differing("", &of_run(a)["configuration"], &of_run(b)["configuration"], &mut keys);
        if !keys.is_empty() {
            notes.push(format!("{label} has another configuration than {}: {}", labels[0], keys.join(", ")));
        }
    }
    notes
}

/// The keys whose values differ.
fn differing(at: &str, a: &Value, b: &Value, keys: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let all = x.keys().chain(y.keys().filter(|key| !x.contains_key(*key)));
            for key in all {
                let name = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                differing(&name, &a[key], &b[key], keys);
            }
        }
        _ if a == b => {}
        _ => keys.push(at.to_owned()),
    }
}

/// The beginning of a hash, enough for a reader.
fn shortened(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
