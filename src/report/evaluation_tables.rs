//! An evaluation as tables.

use super::budget::{Beside, Budget};
use super::evaluation::{Against, CellScores, Evaluation, Paired, PassedOf, Scores};
use super::sheet::{Sheet, csv};

impl Evaluation {
    /// Everything as tables for people.
    pub fn sheets(&self) -> Vec<Sheet> {
        let mut sheets = vec![self.scores()];
        sheets.extend(self.pass_at_k());
        if !self.against.is_empty() {
            sheets.push(self.paired("held-out", |against| &against.held_out));
            sheets.push(self.paired("guiding", |against| &against.guiding));
        }
        if self.cells.len() > 1 {
            sheets.push(self.unions());
        }
        for budget in [Budget::Tokens, Budget::Executions] {
            sheets.extend(self.equal_budget(budget));
        }
        sheets
    }

    /// Pass rates on both kinds of tests, side by side.
    fn scores(&self) -> Sheet {
        let headers = [
            "cell",
            "attempts/task",
            "held-out passed",
            "of",
            "pass@1 %",
            "95 %",
            "guiding passed",
            "of",
            "pass@1 %",
            "95 %",
        ];
        let of = |scores: &Scores| {
            let interval = scores.interval.map(|interval| (interval.low, interval.high));
            [
                scores.passed.to_string(),
                scores.attempts.to_string(),
                optional(scores.pass_at_1, percent),
                optional(interval, range),
            ]
        };
        let row = |cell: &CellScores| {
            let mut row = vec![cell.cell.clone(), cell.seeds.len().to_string()];
            row.extend(of(&cell.held_out));
            row.extend(of(&cell.guiding));
            row
        };
        sheet(
            format!("Pass rates: {}, {} tasks", self.dataset, self.tasks),
            &headers,
            self.cells.iter().map(row).collect(),
            "Held-out tests are the score; guiding tests may have been run while the program was written. \
             Intervals: Wilson with one attempt a task, else bootstrap over tasks.",
        )
    }

    fn pass_at_k(&self) -> Option<Sheet> {
        let mut rows = Vec::new();
        for cell in &self.cells {
            for held_out in &cell.held_out.pass_at_k {
                let guiding = cell.guiding.pass_at_k.iter().find(|guiding| guiding.k == held_out.k);
                rows.push(vec![
                    cell.cell.clone(),
                    held_out.k.to_string(),
                    held_out.tasks.to_string(),
                    percent(held_out.value),
                    range((held_out.low, held_out.high)),
                    optional(guiding, |g| g.tasks.to_string()),
                    optional(guiding, |g| percent(g.value)),
                    optional(guiding, |g| range((g.low, g.high))),
                ]);
            }
        }
        let headers =
            ["cell", "k", "tasks", "held-out pass@k %", "95 %", "tasks", "guiding pass@k %", "95 %"];
        (!rows.is_empty()).then(|| {
            let note = "Unbiased, over the seeds of each cell; bootstrap over tasks. pass@k supposes that somebody picks the right one of k programs.";
            sheet("pass@k".to_owned(), &headers, rows, note)
        })
    }

    fn paired(&self, tests: &str, of: fn(&Against) -> &Paired) -> Sheet {
        let headers = ["cell", "tasks", "gained", "lost", "difference", "95 %", "McNemar p", "RSR %"];
        let row = |against: &Against| {
            let paired = of(against);
            vec![
                against.cell.clone(),
                paired.tasks.to_string(),
                optional(paired.gained, |count| count.to_string()),
                optional(paired.lost, |count| count.to_string()),
                optional(paired.difference, points),
                optional(paired.interval, |(low, high)| format!("{} – {}", points(low), points(high))),
                optional(paired.mcnemar_p, p_value),
                optional(paired.rsr, |rsr| format!("{rsr:+.1}")),
            ]
        };
        sheet(
            format!("Compared with {} on {tests} tests, task by task", self.base),
            &headers,
            self.against.iter().map(row).collect(),
            "Differences in percentage points, with paired bootstrap intervals over tasks. p: exact and two-sided, not corrected for the \
             number of comparisons. RSR: the share of the base's failures that is solved.",
        )
    }

    fn unions(&self) -> Sheet {
        let union = &self.union;
        let row = |name: &str, of: PassedOf| {
            let rate = (of.tasks > 0).then(|| of.passed as f64 / of.tasks as f64);
            vec![name.to_owned(), of.passed.to_string(), of.tasks.to_string(), optional(rate, percent)]
        };
        sheet(
            format!("All {} attempts of {} cells together", union.attempts, union.cells),
            &["", "passed", "of", "%"],
            vec![
                row("held-out, by any: SELECTED BY THE TESTS THAT SCORE IT", union.held_out),
                row("guiding, by any", union.guiding),
                row("held-out, of the first that passes the guiding tests", union.chosen_by_guiding),
            ],
            "The first row is a bound on what choosing could reach, no score of a method. The last one chooses without looking at the \
             held-out tests.",
        )
    }

    fn equal_budget(&self, budget: Budget) -> Option<Sheet> {
        let entries: Vec<_> = self.equal_budget.iter().filter(|entry| entry.budget == budget).collect();
        let first = entries.first()?;
        let name = match budget {
            Budget::Tokens => "tokens",
            Budget::Executions => "executions",
        };
        let spent = format!("{name}/task");
        let headers = [
            "cell",
            "tasks",
            &spent,
            "samples'",
            "exhausted",
            "held-out %",
            "samples %",
            "difference 95 %",
            "guiding %",
            "samples %",
            "difference 95 %",
        ];
        let of = |beside: &Beside| {
            let bounds = if beside.sample_high - beside.sample_low < 1e-9 {
                percent(beside.sample_low)
            } else {
                range((beside.sample_low, beside.sample_high))
            };
            [
                percent(beside.cell),
                bounds,
                optional(beside.interval, |(low, high)| format!("{} – {}", points(low), points(high))),
            ]
        };
        let rows = entries.iter().map(|entry| {
            let mut row = vec![
                entry.cell.clone(),
                entry.tasks.to_string(),
                format!("{:.1}", entry.spent),
                format!("{:.1}", entry.sample_spent),
                entry.exhausted.to_string(),
            ];
            row.extend(of(&entry.held_out));
            row.extend(of(&entry.guiding));
            row
        });
        let note = match budget {
            Budget::Tokens => {
                "Independent samples within the tokens that the cell generated for the task, what is read not counted. exhausted: tasks for \
                 which all samples there are cost less, so that more might have passed. A range holds what unknown verdicts could make of it."
            }
            Budget::Executions => {
                "Independent samples within the programs that the cell executed for the task; tokens are free here."
            }
        };
        Some(sheet(
            format!("Beside samples of {} with equal {name}", first.sample),
            &headers,
            rows.collect(),
            note,
        ))
    }

    /// One line a cell with all its numbers; rates are fractions, what is not known is empty.
    pub fn csv(&self) -> String {
        let mut headers: Vec<String> = [
            "cell",
            "method",
            "gamma",
            "model",
            "seeds",
            "finished",
            "sessions",
            "tokens",
            "prefill",
            "forward_passes",
            "executions",
            "seconds",
        ]
        .map(str::to_owned)
        .to_vec();
        let mut ks: Vec<usize> = self
            .cells
            .iter()
            .flat_map(|cell| cell.held_out.pass_at_k.iter().chain(&cell.guiding.pass_at_k))
            .map(|value| value.k)
            .collect();
        ks.sort_unstable();
        ks.dedup();
        for tests in ["held_out", "guiding"] {
            let of_scores = ["tasks", "attempts", "passed", "pass@1", "low", "high"];
            let of_paired =
                ["gained", "lost", "mcnemar_p", "difference", "difference_low", "difference_high", "rsr"];
            headers.extend(of_scores.map(|name| format!("{tests}_{name}")));
            headers.extend(ks.iter().map(|k| format!("{tests}_pass@{k}")));
            headers.extend(of_paired.map(|name| format!("{tests}_{name}")));
        }
        let row = |cell: &CellScores| {
            let seeds: Vec<String> = cell.seeds.iter().map(u64::to_string).collect();
            let costs = &cell.costs;
            let mut row = vec![
                cell.cell.clone(),
                cell.method.clone(),
                number(cell.gamma),
                cell.model.clone(),
                seeds.join(" "),
                cell.finished.to_string(),
                cell.sessions.to_string(),
                number(Some(costs.tokens)),
                number(Some(costs.prefill)),
                number(Some(costs.forward_passes)),
                number(Some(costs.executions)),
                number(costs.seconds),
            ];
            let against = self.against.iter().find(|against| against.cell == cell.cell);
            for (scores, paired) in [
                (&cell.held_out, against.map(|against| &against.held_out)),
                (&cell.guiding, against.map(|against| &against.guiding)),
            ] {
                row.extend([scores.tasks, scores.attempts, scores.passed].map(|count| count.to_string()));
                row.push(number(scores.pass_at_1));
                row.push(number(scores.interval.map(|interval| interval.low)));
                row.push(number(scores.interval.map(|interval| interval.high)));
                row.extend(ks.iter().map(|k| {
                    number(scores.pass_at_k.iter().find(|value| value.k == *k).map(|value| value.value))
                }));
                row.push(number(paired.and_then(|paired| paired.gained).map(|count| count as f64)));
                row.push(number(paired.and_then(|paired| paired.lost).map(|count| count as f64)));
                row.push(number(paired.and_then(|paired| paired.mcnemar_p)));
                row.push(number(paired.and_then(|paired| paired.difference)));
                row.push(number(paired.and_then(|paired| paired.interval).map(|interval| interval.0)));
                row.push(number(paired.and_then(|paired| paired.interval).map(|interval| interval.1)));
                row.push(number(paired.and_then(|paired| paired.rsr)));
            }
            row
        };
        csv(&headers, &self.cells.iter().map(row).collect::<Vec<_>>())
    }
}

fn sheet(title: String, headers: &[&str], rows: Vec<Vec<String>>, note: &str) -> Sheet {
    let headers = headers.iter().map(|header| (*header).to_owned()).collect();
    Sheet { title, headers, rows, note: note.to_owned() }
}

pub(super) fn optional<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), show)
}

pub(super) fn percent(fraction: f64) -> String {
    format!("{:.1}", 100.0 * fraction)
}

/// A difference of rates in percentage points.
pub(super) fn points(fraction: f64) -> String {
    format!("{:+.1}", 100.0 * fraction)
}

pub(super) fn range((low, high): (f64, f64)) -> String {
    format!("{} – {}", percent(low), percent(high))
}

pub(super) fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") }
}

/// A number for machines.
fn number(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}
