//! A cell beside plain sampling of equal cost: what would its tokens, or its executions, have bought as independent samples?
//!
//! The samples are the candidates that a `sample` cell recorded. They are independent, so any order of them is as good as the one in
//! which they were drawn: for each task many orders are taken, each as far as the cell's budget for that task goes, and
//! the method `sample` chooses among what was drawn. `docs/comparing.md` says what this assumes.

use std::collections::HashSet;

use serde::Serialize;

use super::ReportError;
use super::evaluation::BOOTSTRAP_SEED;
use super::outcomes::{Tests, fingerprint};
use super::stats::intervals;
use super::study::{Attempt, Study};
use super::traces::Traces;
use crate::engine::{RngKey, Sampler};
use crate::session::commit;
use crate::session::method::MethodConfig;
use crate::session::trace::{Candidate, Event};

/// Orders in which the samples of a task are taken.
const ORDERS: u64 = 500;

/// What is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// Tokens generated. What is read is not counted.
    Tokens,
    /// Programs executed.
    Executions,
}

/// A cell beside samples of equal cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EqualBudget {
    /// The cell.
    pub cell: String,
    /// The cell whose samples are drawn.
    pub sample: String,
    /// What is equal.
    pub budget: Budget,
    /// Tasks that both have finished.
    pub tasks: usize,
    /// What the cell spent on one, on the average.
    pub spent: f64,
    /// What the samples spent. A sample that would go beyond the budget is not drawn, except for the first.
    pub sample_spent: f64,
    /// Tasks for which all samples there are cost less than the budget: more of them might have passed.
    pub exhausted: usize,
    /// On the held-out tests.
    pub held_out: Beside,
    /// On the guiding tests.
    pub guiding: Beside,
}

/// Pass rates, as fractions, of a cell and of samples of equal cost, on one kind of tests.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Beside {
    /// Tasks with such tests.
    pub tasks: usize,
    /// The cell's rate.
    pub cell: f64,
    /// The rate of the samples, at least and at most: a chosen sample whose verdict the run's files do not hold counts as failed
    /// in the one and as passed in the other.
    pub sample_low: f64,
    /// See `sample_low`.
    pub sample_high: f64,
    /// 95 % interval of the difference, cell minus samples, by the paired bootstrap over tasks; from the lower end with all unknown
    /// verdicts passed to the upper end with all of them failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<(f64, f64)>,
}

/// A sample that was never run on the held-out tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unjudged {
    /// The run that has it.
    pub run: usize,
    /// The task, by its number in [`Study::tasks`].
    pub task: usize,
    /// The program.
    pub program: String,
}

/// One sample, as far as the choice among samples depends on it.
#[derive(Debug, Clone)]
struct Sample {
    run: usize,
    program: String,
    tokens: usize,
    /// Stands for the program that was executed; `None` where none was.
    executed: Option<u64>,
    viable: bool,
    passes_guiding: bool,
    mean_logprob: f64,
    held_out: Option<bool>,
}

/// What came of drawing samples for one task.
#[derive(Debug, Clone, Copy, Default)]
struct Drawn {
    spent: f64,
    exhausted: bool,
    guiding: f64,
    /// At least and at most.
    held_out: (f64, f64),
}

impl Study {
    /// The programs among the samples of the cell `sample` whose held-out verdict is not known, each once.
    ///
    /// # Errors
    /// When there is no such cell, or a trace cannot be read.
    pub fn unjudged_samples(&self, sample: &str) -> Result<Vec<Unjudged>, ReportError> {
        let pools = self.pools(self.setting(sample)?, &vec![true; self.tasks.len()], &mut Vec::new())?;
        let mut seen = HashSet::new();
        let mut unjudged = Vec::new();
        for (task, pool) in pools.into_iter().enumerate() {
            for Sample { run, program, held_out, .. } in pool {
                if held_out.is_none() && seen.insert((task, fingerprint(&program))) {
                    unjudged.push(Unjudged { run, task, program });
                }
            }
        }
        Ok(unjudged)
    }

    /// Takes held-out verdicts of such programs.
    pub fn judge_samples<'a>(&mut self, verdicts: impl IntoIterator<Item = (&'a Unjudged, bool)>) {
        let verdicts = verdicts.into_iter();
        self.judged.extend(verdicts.map(|(of, passed)| ((of.task, fingerprint(&of.program)), passed)));
    }

    /// Each cell beside samples of `sample`, by tokens and by executions; and what a reader should know. Reads the traces of that cell.
    ///
    /// # Errors
    /// When it is no `sample` cell with independent samples, or a trace cannot be read.
    pub(super) fn equal_budget(
        &self,
        sample: &str,
        counts: &[bool],
    ) -> Result<(Vec<EqualBudget>, Vec<String>), ReportError> {
        let sample = self.setting(sample)?;
        let independent = |attempt: &Attempt| {
            let config = &self.runs[attempt.run].manifest.cells[attempt.cell].config;
            matches!(config, MethodConfig::Sample(c) if c.sampling.sampler == Sampler::Temperature)
        };
        if !self.settings[sample].attempts.iter().all(independent) {
            return Err(ReportError::NotSampled { cell: self.settings[sample].name.clone() });
        }
        let mut notes = Vec::new();
        let pools = self.pools(sample, counts, &mut notes)?;
        let unknown = pools.iter().flatten().filter(|sample| sample.held_out.is_none()).count();
        if unknown > 0 {
            let all: usize = pools.iter().map(Vec::len).sum();
            notes.push(format!(
                "equal budget: {unknown} of {all} samples of {} were never run on the held-out tests, so its rates there are bounds; \
                 --mode internal runs them",
                self.settings[sample].name
            ));
        }
        let mut found = Vec::new();
        for at in (0..self.settings.len()).filter(|&at| at != sample) {
            for budget in [Budget::Tokens, Budget::Executions] {
                found.extend(self.beside(at, sample, budget, &pools));
            }
        }
        Ok((found, notes))
    }

    /// The samples of each task.
    fn pools(
        &self,
        sample: usize,
        counts: &[bool],
        notes: &mut Vec<String>,
    ) -> Result<Vec<Vec<Sample>>, ReportError> {
        // Some session may have ended in the same program, so that its verdict is known.
        let mut verdicts = self.judged.clone();
        for setting in 0..self.settings.len() {
            for task in 0..self.tasks.len() {
                for outcome in self.outcomes(setting, task) {
                    if let Some(passed) = outcome.held_out {
                        verdicts.insert((task, outcome.program), passed);
                    }
                }
            }
        }
        let mut pools = vec![Vec::new(); self.tasks.len()];
        let mut open: Option<(usize, Traces)> = None;
        for attempt in &self.settings[sample].attempts {
            let run = &self.runs[attempt.run];
            let traces = match &mut open {
                Some((of, traces)) if *of == attempt.run => traces,
                _ => {
                    let traces = Traces::open(&run.dir, &run.manifest)?;
                    notes.extend(traces.warnings.iter().cloned());
                    &mut open.insert((attempt.run, traces)).1
                }
            };
            for (task, pool) in pools.iter_mut().enumerate() {
                let session = self.session(*attempt, task).filter(|_| counts[task]);
                let Some(session) = session.filter(|_| self.outcome(*attempt, task).is_some()) else {
                    continue;
                };
                let events = traces.session(session)?.unwrap_or_default();
                let verdict = |program: &str| verdicts.get(&(task, fingerprint(program))).copied();
                pool.extend(samples(attempt.run, &events, verdict));
            }
        }
        Ok(pools)
    }

    /// A cell beside the samples; `None` where it spends nothing of that kind, or no task has both.
    fn beside(&self, at: usize, sample: usize, budget: Budget, pools: &[Vec<Sample>]) -> Option<EqualBudget> {
        let (mut spent, mut drawn): (Vec<f64>, Vec<Option<Drawn>>) = (Vec::new(), Vec::new());
        for (task, pool) in pools.iter().enumerate() {
            let costs: Vec<usize> = self
                .outcomes(at, task)
                .map(|outcome| match budget {
                    Budget::Tokens => outcome.tokens,
                    Budget::Executions => outcome.executions,
                })
                .collect();
            if pool.is_empty() || costs.is_empty() {
                drawn.push(None);
                continue;
            }
            spent.push(costs.iter().sum::<usize>() as f64 / costs.len() as f64);
            let key = RngKey::new(BOOTSTRAP_SEED).with_name(&self.tasks[task]);
            let each = costs.iter().map(|&cost| draw(pool, budget, cost, key));
            drawn.push(Some(mean(each, costs.len())));
        }
        let tasks = spent.len();
        let total: f64 = spent.iter().sum();
        if total == 0.0 {
            return None;
        }
        let known = || drawn.iter().flatten();
        let beside = |tests| {
            let rates = self.rates(at, tests);
            let judged: Vec<Option<(f64, (f64, f64))>> = rates
                .iter()
                .zip(&drawn)
                .map(|(rate, drawn)| {
                    let drawn = drawn.as_ref()?;
                    let sampled = match tests {
                        Tests::HeldOut => drawn.held_out,
                        Tests::Guiding => (drawn.guiding, drawn.guiding),
                    };
                    Some(((*rate)?, sampled))
                })
                .collect();
            Beside::new(&judged)
        };
        Some(EqualBudget {
            cell: self.settings[at].name.clone(),
            sample: self.settings[sample].name.clone(),
            budget,
            tasks,
            spent: total / tasks as f64,
            sample_spent: known().map(|drawn| drawn.spent).sum::<f64>() / tasks as f64,
            exhausted: known().filter(|drawn| drawn.exhausted).count(),
            held_out: beside(Tests::HeldOut),
            guiding: beside(Tests::Guiding),
        })
    }
}

impl Beside {
    /// From the cell's rate and the bounds of the samples' rate, by task.
    fn new(judged: &[Option<(f64, (f64, f64))>]) -> Self {
        let tasks = judged.iter().flatten().count();
        let mean = |of: fn(&(f64, (f64, f64))) -> f64| {
            judged.iter().flatten().map(of).sum::<f64>() / tasks.max(1) as f64
        };
        let worst = judged.iter().map(|pair| pair.map(|(cell, (_, high))| cell - high)).collect();
        let best = judged.iter().map(|pair| pair.map(|(cell, (low, _))| cell - low)).collect();
        let found = intervals(&[worst, best], BOOTSTRAP_SEED);
        Self {
            tasks,
            cell: mean(|pair| pair.0),
            sample_low: mean(|pair| pair.1.0),
            sample_high: mean(|pair| pair.1.1),
            interval: found[0].zip(found[1]).map(|((low, _), (_, high))| (low, high)),
        }
    }
}

/// The samples that a session of `sample` recorded; `verdict` knows the held-out verdicts of some programs.
fn samples(run: usize, events: &[Event], verdict: impl Fn(&str) -> Option<bool>) -> Vec<Sample> {
    let program = events.iter().find_map(|event| match event {
        Event::End(end) => Some(end.program.as_str()),
        _ => None,
    });
    let step = events.iter().find_map(|event| match event {
        Event::Step(step) => Some(step),
        _ => None,
    });
    let (Some(program), Some(step)) = (program, step) else { return Vec::new() };
    // What the prompt gave of the program stands before what was sampled.
    let given = program.strip_suffix(step.decision.text.as_str()).unwrap_or_default();
    let sample = |candidate: &Candidate| {
        let program = format!("{given}{}", candidate.text);
        Sample {
            run,
            tokens: candidate.tokens,
            executed: candidate.execution.as_ref().map(|execution| fingerprint(&execution.program)),
            viable: commit::is_viable(candidate),
            passes_guiding: commit::passes_all(candidate),
            mean_logprob: commit::mean_logprob(candidate),
            held_out: verdict(&program),
            program,
        }
    };
    step.candidates.iter().map(sample).collect()
}

/// Draws samples up to a budget, in many orders, and averages what is chosen.
fn draw(pool: &[Sample], budget: Budget, limit: usize, key: RngKey) -> Drawn {
    let each = (0..ORDERS).map(|order| {
        let key = key.with(order);
        let mut order: Vec<usize> = (0..pool.len()).collect();
        // Fisher & Yates: each order is as likely as another.
        for last in (1..order.len()).rev() {
            order.swap(last, (key.uniform(last as u64) * (last + 1) as f64) as usize);
        }
        let (count, spent) = affordable(order.iter().map(|&at| &pool[at]), budget, limit);
        let chosen = choose(order[..count].iter().map(|&at| &pool[at]));
        let (low, high) = match chosen.held_out {
            Some(passed) => (passed, passed),
            None => (false, true),
        };
        Drawn {
            spent: spent as f64,
            exhausted: count == pool.len() && spent < limit,
            guiding: f64::from(u8::from(chosen.passes_guiding)),
            held_out: (f64::from(u8::from(low)), f64::from(u8::from(high))),
        }
    });
    mean(each, ORDERS as usize)
}

/// How many samples the budget buys, at least one, and what they cost.
fn affordable<'a>(samples: impl Iterator<Item = &'a Sample>, budget: Budget, limit: usize) -> (usize, usize) {
    let (mut count, mut spent) = (0, 0);
    let mut executed = HashSet::new();
    for sample in samples {
        let cost = match budget {
            Budget::Tokens => sample.tokens,
            // Equal programs are executed once.
            Budget::Executions => {
                usize::from(sample.executed.is_some_and(|program| !executed.contains(&program)))
            }
        };
        if count > 0 && spent + cost > limit {
            break;
        }
        executed.extend(sample.executed);
        (count, spent) = (count + 1, spent + cost);
    }
    (count, spent)
}

/// What the method `sample` takes: the first that passes the guiding tests, else the one with the highest mean log-probability among
/// those that are Python, else among all.
fn choose<'a>(samples: impl Iterator<Item = &'a Sample> + Clone) -> &'a Sample {
    let mut viable = samples.clone().filter(|sample| sample.viable);
    if let Some(first) = viable.clone().find(|sample| sample.passes_guiding) {
        return first;
    }
    let only_viable = viable.next().is_some();
    let likeliest = samples
        .filter(|sample| sample.viable || !only_viable)
        .max_by(|a, b| a.mean_logprob.total_cmp(&b.mean_logprob));
    likeliest.expect("at least one is drawn")
}

fn mean(each: impl Iterator<Item = Drawn>, count: usize) -> Drawn {
    let mut sum = Drawn::default();
    for drawn in each {
        sum.spent += drawn.spent;
        sum.exhausted |= drawn.exhausted;
        sum.guiding += drawn.guiding;
        sum.held_out.0 += drawn.held_out.0;
        sum.held_out.1 += drawn.held_out.1;
    }
    let count = count as f64;
    Drawn {
        spent: sum.spent / count,
        exhausted: sum.exhausted,
        guiding: sum.guiding / count,
        held_out: (sum.held_out.0 / count, sum.held_out.1 / count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(
        tokens: usize,
        program: u64,
        passes_guiding: bool,
        mean_logprob: f64,
        held_out: Option<bool>,
    ) -> Sample {
        Sample {
            run: 0,
            program: String::new(),
            tokens,
            executed: Some(program),
            viable: true,
            passes_guiding,
            mean_logprob,
            held_out,
        }
    }

    /// The mean over all orders of three samples, written out.
    #[test]
    fn drawing_agrees_with_all_orders() {
        let pool = [
            sample(10, 1, false, -0.1, Some(false)),
            sample(20, 2, true, -0.5, Some(true)),
            sample(30, 1, false, -0.9, None),
        ];
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        for limit in [5, 10, 30, 40, 50, 60, 100] {
            for budget in [Budget::Tokens, Budget::Executions] {
                let limit = if budget == Budget::Executions { limit / 30 } else { limit };
                let (mut guiding, mut low, mut high, mut spent) = (0.0, 0.0, 0.0, 0.0);
                for order in orders {
                    // Without the functions under test: which prefix of the order fits.
                    let cost = |upto: usize| match budget {
                        Budget::Tokens => order[..upto].iter().map(|&at| pool[at].tokens).sum::<usize>(),
                        Budget::Executions => order[..upto]
                            .iter()
                            .map(|&at: &usize| pool[at].executed)
                            .collect::<HashSet<_>>()
                            .len(),
                    };
                    let count = (1..=3).rev().find(|&count| cost(count) <= limit).unwrap_or(1);
                    let with_second = order[..count].contains(&1);
                    let chosen = if with_second {
                        1
                    } else if order[..count].contains(&0) {
                        0
                    } else {
                        2
                    };
                    spent += cost(count) as f64 / 6.0;
                    guiding += f64::from(u8::from(chosen == 1)) / 6.0;
                    low += f64::from(u8::from(chosen == 1)) / 6.0;
                    high += f64::from(u8::from(chosen != 0)) / 6.0;
                }
                let drawn = draw(&pool, budget, limit, RngKey::new(3).with_name("T/1"));
                let near = |a: f64, b: f64, tolerance: f64| (a - b).abs() <= tolerance;
                assert!(near(drawn.guiding, guiding, 0.08), "{budget:?} {limit}: {drawn:?}, {guiding}");
                assert!(near(drawn.held_out.0, low, 0.08) && near(drawn.held_out.1, high, 0.08), "{drawn:?}");
                assert!(near(drawn.spent, spent, 2.0), "{budget:?} {limit}: {drawn:?}, {spent}");
                let all = if budget == Budget::Tokens { 60 } else { 2 };
                assert_eq!(drawn.exhausted, all < limit, "{budget:?} {limit}");
            }
        }
    }

    /// The choice is that of the method itself.
    #[test]
    fn the_choice_is_that_of_the_method() {
        use crate::session::method::SampleConfig;
        let method = MethodConfig::Sample(SampleConfig::default());
        for number in 0..4_u32.pow(5) {
            let candidates: Vec<Candidate> = (0..5)
                .map(|at| {
                    let kind = number / 4_u32.pow(at) % 4;
                    serde_json::from_value(serde_json::json!({
                        "index": at, "text": format!("{at}"), "line": "", "line_tokens": [], "tokens": 2,
                        "logprob": -f64::from((at * 7 + number) % 5) - 0.1 * f64::from(at), "line_logprob": 0.0, "ended": "end",
                        "class": if kind == 3 { "invalid" } else { "executable" }, "gate": {"verdict": "complete"},
                        "execution": {"program": "", "tests": [{"kind": "passed"}], "passed": u32::from(kind == 0)},
                    }))
                    .expect("a candidate")
                })
                .collect();
            let end = serde_json::json!({"reason": "fence", "program": ""});
            let step = serde_json::json!({
                "step": 0, "candidates": candidates,
                "decision": {"source": {"from": "nothing"}, "text": "", "tokens": [], "reason": ""},
            });
            let events = [
                Event::Step(serde_json::from_value(step).expect("a step")),
                Event::End(serde_json::from_value(end).expect("an end")),
            ];
            // Knows each candidate's number.
            let samples = samples(0, &events, |_| None);
            let chosen = choose(samples.iter());
            let at = samples.iter().position(|sample| std::ptr::eq(sample, chosen));
            assert_eq!(at, commit::choose(&method, &candidates).map(|choice| choice.index), "{number}");
        }
    }
}
