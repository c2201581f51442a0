//! The numbers of one or more runs: what each cell scores, on either kind of tests, what it costs, and how it compares with
//! another. `docs/comparing.md` says what each number means.

use serde::Serialize;

use super::ReportError;
use super::budget::EqualBudget;
use super::outcomes::{Outcome, Tests};
use super::rejudge::Judge;
use super::stats::{intervals, mcnemar, pass_at_k, rsr, wilson};
use super::study::Study;

/// Version of the JSON that an [`Evaluation`] becomes.
pub const EVALUATION_SCHEMA: u32 = 1;

/// Seed of the bootstrap, fixed so that the same runs give the same intervals.
pub(super) const BOOTSTRAP_SEED: u64 = 0;

/// Of which k pass@k is given where none is asked for, as far as there are so many attempts.
const KS: [usize; 8] = [1, 2, 5, 10, 20, 50, 100, 200];

/// What is to be evaluated.
#[derive(Debug, Clone, Default)]
pub struct EvaluationOptions {
    /// The cell that the others are compared with; the first unless it is given.
    pub base: Option<String>,
    /// Of which k pass@k is given.
    pub ks: Vec<usize>,
    /// Use only tasks that every cell has finished, so that the cells' own numbers can be compared, too.
    pub matched: bool,
    /// The `sample` cell whose samples the others are put beside at equal cost.
    pub equal_budget: Option<String>,
}

/// The numbers.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluation {
    /// [`EVALUATION_SCHEMA`].
    pub schema: u32,
    /// The dataset.
    pub dataset: String,
    /// The runs.
    pub runs: Vec<RunName>,
    /// Who says whether a program passed.
    pub judge: Judge,
    /// Tasks that count.
    pub tasks: usize,
    /// One entry a cell, its seeds gathered, in the order of the runs.
    pub cells: Vec<CellScores>,
    /// The cell that the others are compared with.
    pub base: String,
    /// Each cell but the base, compared with it.
    pub against: Vec<Against>,
    /// What all cells solve together.
    pub union: Union,
    /// Cells beside plain sampling of equal cost, where it was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub equal_budget: Vec<EqualBudget>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunName {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub dir: String,
    /// Its model.
    pub model: String,
    /// SHA-256 of the model.
    pub model_sha256: String,
}

/// What a cell scores and costs.
#[derive(Debug, Clone, Serialize)]
pub struct CellScores {
    /// Its name.
    pub cell: String,
    /// The method.
    pub method: String,
    /// Guidance strength γ, if it guides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
    /// The model.
    pub model: String,
    /// One attempt a task for each.
    pub seeds: Vec<u64>,
    /// Sessions that are finished, and in all.
    pub finished: usize,
    /// See `finished`.
    pub sessions: usize,
    /// On the held-out tests: the score.
    pub held_out: Scores,
    /// On the guiding tests, which the method may have seen.
    pub guiding: Scores,
    /// Means of a session.
    pub costs: Costs,
}

/// Pass rates on one kind of tests. All rates are fractions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scores {
    /// Tasks with such tests and a finished attempt.
    pub tasks: usize,
    /// Tasks with a finished attempt that have no such test; they count nowhere.
    pub without_tests: usize,
    /// Finished attempts at the tasks.
    pub attempts: usize,
    /// Those that passed.
    pub passed: usize,
    /// The share of a task's attempts that passed, averaged over the tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass_at_1: Option<f64>,
    /// Its 95 % interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// pass@k for each k, where a task has several attempts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pass_at_k: Vec<PassAtK>,
}

/// A 95 % interval of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
    /// `wilson` (one attempt a task, or all of them alike) or `bootstrap` (over tasks).
    pub by: &'static str,
}

impl Interval {
    fn wilson(passed: usize, tasks: usize) -> Self {
        let (low, high) = wilson(passed, tasks);
        Self { low, high, by: "wilson" }
    }

    /// Where all tasks have the value 0 or all have 1: resamples of these would be the same, as if the rate were certain.
    fn of_uniform(values: &[Option<f64>]) -> Option<Self> {
        let tasks = values.iter().flatten().count();
        let all = |value: f64| tasks > 0 && values.iter().flatten().all(|other| *other == value);
        match (all(0.0), all(1.0)) {
            (true, _) => Some(Self::wilson(0, tasks)),
            (_, true) => Some(Self::wilson(tasks, tasks)),
            _ => None,
        }
    }
}

/// pass@k without bias, averaged over the tasks that have at least k attempts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PassAtK {
    /// Attempts drawn.
    pub k: usize,
    /// Tasks with so many.
    pub tasks: usize,
    /// The mean.
    pub value: f64,
    /// Its 95 % bootstrap interval over tasks; Wilson's where all of them have the value 0 or all 1.
    pub low: f64,
    /// See `low`.
    pub high: f64,
}

/// Means of a finished session.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Costs {
    /// Tokens sampled or decoded, discarded ones included.
    pub tokens: f64,
    /// Tokens read before the first new one of each request.
    pub prefill: f64,
    /// Forward passes.
    pub forward_passes: f64,
    /// Programs executed.
    pub executions: f64,
    /// Wall time; absent where a session has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// 95 % bootstrap intervals over tasks, where only tasks count that every cell has finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_interval: Option<(f64, f64)>,
    /// See `tokens_interval`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_passes_interval: Option<(f64, f64)>,
    /// See `tokens_interval`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_interval: Option<(f64, f64)>,
}

/// A cell compared with the base, task by task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Against {
    /// The cell.
    pub cell: String,
    /// On the held-out tests.
    pub held_out: Paired,
    /// On the guiding tests.
    pub guiding: Paired,
}

/// A paired comparison on the tasks that both cells have finished.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Paired {
    /// Those tasks.
    pub tasks: usize,
    /// Tasks that only the cell passes; absent where either has several attempts a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gained: Option<usize>,
    /// Tasks that only the base passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<usize>,
    /// p-value of the exact two-sided McNemar test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcnemar_p: Option<f64>,
    /// pass@1 of the cell minus that of the base.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<f64>,
    /// Its 95 % interval by the paired bootstrap over tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<(f64, f64)>,
    /// The share of the base's failures that the cell solves, in percent, negative where it adds to them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rsr: Option<f64>,
}

/// What all attempts of all cells reach together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Union {
    /// Cells.
    pub cells: usize,
    /// Attempts at a task, at most.
    pub attempts: usize,
    /// Tasks of which some attempt passes the held-out tests: selected by the tests that score it.
    pub held_out: PassedOf,
    /// Tasks of which some attempt passes the guiding tests.
    pub guiding: PassedOf,
    /// Tasks of which the first attempt that passes the guiding tests (the first of all, where none does) passes the held-out tests:
    /// selected without looking at them.
    pub chosen_by_guiding: PassedOf,
}

/// A count among tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct PassedOf {
    /// Tasks with such tests and a finished attempt.
    pub tasks: usize,
    /// Those that passed.
    pub passed: usize,
}

impl Study {
    /// Adds everything up.
    ///
    /// # Errors
    /// When there is no cell of the base's name.
    pub fn evaluate(&self, options: &EvaluationOptions) -> Result<Evaluation, ReportError> {
        let base = options.base.as_deref().map_or(Ok(0), |name| self.setting(name))?;
        let mut notes = self.notes.clone();
        let counts = self.counted(options.matched);
        let tasks = counts.iter().filter(|counts| **counts).count();
        if options.matched && tasks < self.tasks.len() {
            notes.push(format!(
                "of {} tasks only the {tasks} count that every cell has finished",
                self.tasks.len()
            ));
        }
        let rates = Rates::new(self, &counts);
        let cells: Vec<CellScores> =
            (0..self.settings.len()).map(|setting| self.cell(setting, &counts)).collect();
        let mut evaluation = Evaluation {
            schema: EVALUATION_SCHEMA,
            dataset: self.runs[0].manifest.dataset.name.clone(),
            runs: self.run_names(),
            judge: self.judge,
            tasks,
            base: self.settings[base].name.clone(),
            against: if self.skips() { Vec::new() } else { self.against(base, &rates) },
            union: self.union(&counts),
            equal_budget: Vec::new(),
            notes,
            cells,
        };
        self.pass_at_k(&mut evaluation, &options.ks, &rates, &counts);
        if options.matched {
            self.cost_intervals(&mut evaluation.cells, &counts);
        }
        evaluation.notes.extend(self.missing_tests(&counts));
        if self.stopped_by_held_out_tests() {
            // Which attempts there are depends on the tests that score them.
            evaluation.union.chosen_by_guiding = PassedOf::default();
        }
        if let Some(sample) = options.equal_budget.as_ref().filter(|_| !self.skips()) {
            let (found, notes) = self.equal_budget(sample, &counts)?;
            evaluation.equal_budget = found;
            evaluation.notes.extend(notes);
        }
        Ok(evaluation)
    }

    /// Which tasks count.
    pub(super) fn counted(&self, matched: bool) -> Vec<bool> {
        let finished = |task: usize| {
            let mut attempts = self.settings.iter().flat_map(|setting| &setting.attempts);
            if matched {
                attempts.all(|&attempt| self.outcome(attempt, task).is_some())
            } else {
                attempts.any(|&attempt| self.outcome(attempt, task).is_some())
            }
        };
        (0..self.tasks.len()).map(finished).collect()
    }

    /// How many of the tasks that count have no test of a kind.
    fn missing_tests(&self, counts: &[bool]) -> Vec<String> {
        let note = |(tests, name)| {
            let lacks = |&task: &usize| {
                let mut all = (0..self.settings.len()).flat_map(|at| self.outcomes(at, task));
                all.any(|outcome| outcome.passed(tests).is_none())
            };
            let lacking = counted(counts).filter(lacks).count();
            (lacking > 0).then(|| {
                format!("{lacking} tasks have no {name} test; they do not count in the {name} columns")
            })
        };
        [(Tests::HeldOut, "held-out"), (Tests::Guiding, "guiding")].into_iter().filter_map(note).collect()
    }

    fn run_names(&self) -> Vec<RunName> {
        let name = |run: &super::outcomes::RunOutcomes| RunName {
            name: run.manifest.name.clone(),
            dir: run.dir.display().to_string(),
            model: run.manifest.model.name.clone(),
            model_sha256: run.manifest.model.sha256.clone(),
        };
        self.runs.iter().map(name).collect()
    }

    /// A cell's counts; the intervals that need all cells at once come later.
    fn cell(&self, at: usize, counts: &[bool]) -> CellScores {
        let setting = &self.settings[at];
        let outcomes: Vec<&Outcome> = counted(counts).flat_map(|task| self.outcomes(at, task)).collect();
        let sessions: usize = setting
            .attempts
            .iter()
            .map(|attempt| counted(counts).filter(|&task| self.has(attempt.run, task)).count())
            .sum();
        CellScores {
            cell: setting.name.clone(),
            method: setting.method.clone(),
            gamma: setting.gamma,
            model: setting.model.clone(),
            seeds: setting.attempts.iter().map(|attempt| attempt.seed).collect(),
            finished: outcomes.len(),
            sessions,
            held_out: self.scores(at, Tests::HeldOut, counts),
            guiding: self.scores(at, Tests::Guiding, counts),
            costs: Costs::mean(&outcomes),
        }
    }

    fn scores(&self, at: usize, tests: Tests, counts: &[bool]) -> Scores {
        let mut scores = Scores {
            tasks: 0,
            without_tests: 0,
            attempts: 0,
            passed: 0,
            pass_at_1: None,
            interval: None,
            pass_at_k: Vec::new(),
        };
        let mut sum = 0.0;
        for task in counted(counts) {
            match self.count(at, task, tests) {
                (_, 0) => scores.without_tests += usize::from(self.outcomes(at, task).next().is_some()),
                (passed, attempts) => {
                    scores.tasks += 1;
                    scores.attempts += attempts;
                    scores.passed += passed;
                    sum += passed as f64 / attempts as f64;
                }
            }
        }
        if scores.tasks > 0 {
            scores.pass_at_1 = Some(sum / scores.tasks as f64);
        }
        if scores.tasks > 0 && self.settings[at].is_one_attempt() {
            scores.interval = Some(Interval::wilson(sum.round() as usize, scores.tasks));
        }
        scores
    }

    /// pass@k, and the intervals of pass@1, of cells that attempt a task several times.
    fn pass_at_k(&self, evaluation: &mut Evaluation, ks: &[usize], rates: &Rates, counts: &[bool]) {
        for tests in [Tests::HeldOut, Tests::Guiding] {
            for (at, setting) in self.settings.iter().enumerate() {
                let n = setting.attempts.len();
                if setting.is_one_attempt() || self.skips() {
                    continue;
                }
                let mut wanted: Vec<usize> =
                    if ks.is_empty() { [&KS[..], &[n]].concat() } else { ks.to_vec() };
                wanted.retain(|&k| (1..=n).contains(&k));
                wanted.sort_unstable();
                wanted.dedup();
                let value = |task: usize, k: usize| {
                    let (passed, all) = self.count(at, task, tests);
                    if counts[task] && all > 0 { pass_at_k(all, passed, k) } else { None }
                };
                let mut columns = vec![rates.of(tests)[at].clone()];
                columns.extend(
                    wanted
                        .iter()
                        .map(|&k| (0..self.tasks.len()).map(|task| value(task, k)).collect::<Vec<_>>()),
                );
                let found = intervals(&columns, BOOTSTRAP_SEED);
                let cell = &mut evaluation.cells[at];
                let scores = match tests {
                    Tests::HeldOut => &mut cell.held_out,
                    Tests::Guiding => &mut cell.guiding,
                };
                let of = |column, interval: Option<(f64, f64)>| {
                    let bootstrap = |(low, high)| Interval { low, high, by: "bootstrap" };
                    Interval::of_uniform(column).or(interval.map(bootstrap))
                };
                scores.interval = of(&columns[0], found[0]);
                for ((&k, column), interval) in wanted.iter().zip(&columns[1..]).zip(&found[1..]) {
                    let Some(Interval { low, high, .. }) = of(column, *interval) else { continue };
                    let tasks = column.iter().flatten().count();
                    let value = column.iter().flatten().sum::<f64>() / tasks as f64;
                    scores.pass_at_k.push(PassAtK { k, tasks, value, low, high });
                }
            }
        }
    }

    fn cost_intervals(&self, cells: &mut [CellScores], counts: &[bool]) {
        let columns = |of: fn(&Outcome) -> Option<f64>| -> Vec<Option<(f64, f64)>> {
            let mean = |at: usize, task: usize| {
                let values: Option<Vec<f64>> = self.outcomes(at, task).map(of).collect();
                let values = values.filter(|values| counts[task] && !values.is_empty())?;
                Some(values.iter().sum::<f64>() / values.len() as f64)
            };
            let column = |at| (0..self.tasks.len()).map(|task| mean(at, task)).collect();
            intervals(&(0..self.settings.len()).map(column).collect::<Vec<_>>(), BOOTSTRAP_SEED)
        };
        let tokens = columns(|outcome| Some(outcome.tokens as f64));
        let forward_passes = columns(|outcome| Some(outcome.forward_passes as f64));
        let seconds = columns(|outcome| outcome.seconds);
        for (at, cell) in cells.iter_mut().enumerate() {
            cell.costs.tokens_interval = tokens[at];
            cell.costs.forward_passes_interval = forward_passes[at];
            cell.costs.seconds_interval = cell.costs.seconds.and(seconds[at]);
        }
    }

    fn against(&self, base: usize, rates: &Rates) -> Vec<Against> {
        let others: Vec<usize> = (0..self.settings.len()).filter(|&at| at != base).collect();
        let paired = |tests| {
            let rates = rates.of(tests);
            let differences: Vec<Vec<Option<f64>>> = others
                .iter()
                .map(|&at| rates[at].iter().zip(&rates[base]).map(|(a, b)| Some((*a)? - (*b)?)).collect())
                .collect();
            let intervals = intervals(&differences, BOOTSTRAP_SEED);
            let single = |at: usize| self.settings[at].is_one_attempt();
            others
                .iter()
                .zip(intervals)
                .map(|(&at, interval)| {
                    let single = single(at) && single(base);
                    Paired::new(&rates[at], &rates[base], interval, single)
                })
                .collect::<Vec<Paired>>()
        };
        let (held_out, guiding) = (paired(Tests::HeldOut), paired(Tests::Guiding));
        others
            .iter()
            .zip(held_out.into_iter().zip(guiding))
            .map(|(&at, (held_out, guiding))| Against {
                cell: self.settings[at].name.clone(),
                held_out,
                guiding,
            })
            .collect()
    }

    fn union(&self, counts: &[bool]) -> Union {
        let mut union = Union {
            cells: self.settings.len(),
            attempts: self.settings.iter().map(|setting| setting.attempts.len()).sum(),
            held_out: PassedOf::default(),
            guiding: PassedOf::default(),
            chosen_by_guiding: PassedOf::default(),
        };
        for task in counted(counts) {
            let all = || (0..self.settings.len()).flat_map(|at| self.outcomes(at, task));
            let any = |of: fn(&Outcome) -> Option<bool>| all().filter_map(of).max();
            union.held_out.add(any(|outcome| outcome.held_out));
            union.guiding.add(any(|outcome| outcome.guiding));
            let first = all().find(|outcome| outcome.guiding == Some(true)).or_else(|| all().next());
            union.chosen_by_guiding.add(first.and_then(|outcome| outcome.held_out));
        }
        union
    }
}

fn counted(counts: &[bool]) -> impl Iterator<Item = usize> + '_ {
    counts.iter().enumerate().filter(|(_, counts)| **counts).map(|(task, _)| task)
}

/// The share of attempts that passed, by cell and task, on either kind of tests.
struct Rates {
    held_out: Vec<Vec<Option<f64>>>,
    guiding: Vec<Vec<Option<f64>>>,
}

impl Rates {
    fn new(study: &Study, counts: &[bool]) -> Self {
        let of = |tests| {
            let rates = |at| {
                let mut rates = study.rates(at, tests);
                for (rate, counts) in rates.iter_mut().zip(counts) {
                    *rate = rate.filter(|_| *counts);
                }
                rates
            };
            (0..study.settings.len()).map(rates).collect()
        };
        Self { held_out: of(Tests::HeldOut), guiding: of(Tests::Guiding) }
    }

    fn of(&self, tests: Tests) -> &[Vec<Option<f64>>] {
        match tests {
            Tests::HeldOut => &self.held_out,
            Tests::Guiding => &self.guiding,
        }
    }
}

impl Paired {
    /// From the rates of the cell and of the base; `single` says that each is one attempt.
    fn new(cell: &[Option<f64>], base: &[Option<f64>], interval: Option<(f64, f64)>, single: bool) -> Self {
        let both: Vec<(f64, f64)> = cell.iter().zip(base).filter_map(|(a, b)| Some(((*a)?, (*b)?))).collect();
        let tasks = both.len();
        let mean = |of: fn(&(f64, f64)) -> f64| both.iter().map(of).sum::<f64>() / tasks as f64;
        let (accuracy, base) = (mean(|pair| pair.0), mean(|pair| pair.1));
        let gained = both.iter().filter(|(cell, base)| cell > base).count();
        let lost = both.iter().filter(|(cell, base)| cell < base).count();
        let known = tasks > 0;
        // Where all differences are the same, resamples of them say nothing.
        let varied = both.windows(2).any(|pair| pair[0].0 - pair[0].1 != pair[1].0 - pair[1].1);
        Self {
            tasks,
            gained: (known && single).then_some(gained),
            lost: (known && single).then_some(lost),
            mcnemar_p: (known && single).then(|| mcnemar(gained, lost)),
            difference: known.then_some(accuracy - base),
            interval: interval.filter(|_| varied),
            rsr: if known { rsr(100.0 * accuracy, 100.0 * base) } else { None },
        }
    }
}

impl PassedOf {
    fn add(&mut self, passed: Option<bool>) {
        self.tasks += usize::from(passed.is_some());
        self.passed += usize::from(passed == Some(true));
    }
}

impl Costs {
    fn mean(outcomes: &[&Outcome]) -> Self {
        if outcomes.is_empty() {
            return Self::default();
        }
        let mean = |of: fn(&Outcome) -> usize| {
            outcomes.iter().map(|outcome| of(outcome) as f64).sum::<f64>() / outcomes.len() as f64
        };
        let seconds: Option<f64> = outcomes.iter().map(|outcome| outcome.seconds).sum();
        Self {
            tokens: mean(|outcome| outcome.tokens),
            prefill: mean(|outcome| outcome.prefill),
            forward_passes: mean(|outcome| outcome.forward_passes),
            executions: mean(|outcome| outcome.executions),
            seconds: seconds.map(|seconds| seconds / outcomes.len() as f64),
            ..Self::default()
        }
    }
}
