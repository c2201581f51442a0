//! The summary of a run: one row a cell, the comparison of cells, and how they look as text.

use unicode_width::UnicodeWidthStr;

use super::evaluation_tables::{optional, p_value, range};
use super::read::RunFiles;
use super::sheet::one_line;
use super::stats::{mcnemar, wilson};

/// What the sessions of one cell came to.
#[derive(Debug, Clone, PartialEq)]
pub struct CellRow {
    /// Name of the cell.
    pub cell: String,
    /// Its method.
    pub method: String,
    /// Its guidance strength γ, if it guides.
    pub gamma: Option<f64>,
    /// Finished sessions, one a task.
    pub tasks: usize,
    /// Those of them whose task has held-out tests. The others count in no rate.
    pub judged: usize,
    /// Programs that passed all held-out tests: the score.
    pub passed_held_out: usize,
    /// Its 95 % Wilson interval, as fractions; `None` where nothing was judged.
    pub interval: Option<(f64, f64)>,
    /// Programs that passed all guiding tests.
    pub passed_guiding: usize,
    /// Tasks that had no usable guiding test.
    pub unguided: usize,
    /// Tokens sampled or decoded, those of discarded candidates included.
    pub tokens: usize,
    /// Forward passes that its sessions took part in.
    pub forward_passes: usize,
    /// Programs executed.
    pub executions: usize,
    /// Sum of the sessions' wall time in seconds; `None` where a finished session has no timing.
    pub seconds: Option<f64>,
}

/// A cell compared with the run's first cell, on the tasks with held-out tests that both have finished.
#[derive(Debug, Clone, PartialEq)]
pub struct Paired {
    /// Name of the cell.
    pub cell: String,
    /// Those tasks.
    pub tasks: usize,
    /// Tasks that this cell passes and the first one does not.
    pub gained: usize,
    /// Tasks that the first cell passes and this one does not.
    pub lost: usize,
    /// p-value of the exact McNemar test; `None` where there is no such task.
    pub p: Option<f64>,
}

/// The summary of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// One row a cell, in the run's order.
    pub cells: Vec<CellRow>,
    /// Sessions of each cell that were skipped because an earlier cell had solved their task.
    pub skipped: Vec<usize>,
    /// Each cell but the first, compared with the first, on held-out tests. Empty where sessions were skipped: the tasks
    /// that two cells share are then those that the earlier one failed.
    pub paired: Vec<Paired>,
    /// Tasks with held-out tests and a finished session, and those that at least one cell passes on held-out tests. A
    /// bound on what choosing among the cells could reach, not the score of a method.
    pub union: (usize, usize),
    /// Tasks with a finished session that have no held-out test.
    pub without_tests: usize,
}

impl Table {
    /// Adds up the sessions of a run.
    pub(super) fn new(run: &RunFiles) -> Self {
        let width = run.manifest.cells.len();
        let passed = |session: usize| run.results[session].as_ref()?.held_out_verdict();
        let tasks = || 0..run.manifest.task_ids.len();
        let cells = (0..width).map(|cell| cell_row(run, cell)).collect();
        let skipped: Vec<usize> =
            (0..width).map(|cell| run.skipped.iter().skip(cell).step_by(width).flatten().count()).collect();
        let comparable = if skipped.iter().any(|&count| count > 0) { 0 } else { width };
        let paired = (1..comparable)
            .map(|cell| {
                let both =
                    tasks().filter_map(|task| Some((passed(task * width)?, passed(task * width + cell)?)));
                let both: Vec<(bool, bool)> = both.collect();
                let gained = both.iter().filter(|pair| **pair == (false, true)).count();
                let lost = both.iter().filter(|pair| **pair == (true, false)).count();
                let cell = run.manifest.cells[cell].name.clone();
                let p = (!both.is_empty()).then(|| mcnemar(gained, lost));
                Paired { cell, tasks: both.len(), gained, lost, p }
            })
            .collect();
        let of_task = |task: usize| (0..width).filter_map(move |cell| passed(task * width + cell));
        let union = (
            tasks().filter(|&task| of_task(task).next().is_some()).count(),
            tasks().filter(|&task| of_task(task).any(|passed| passed)).count(),
        );
        let without_tests = run.results.chunks(width).filter(|rows| {
            let mut rows = rows.iter().flatten().peekable();
            rows.peek().is_some() && rows.all(|row| row.held_out_verdict().is_none())
        });
        let without_tests = without_tests.count();
        Self { cells, skipped, paired, union, without_tests }
    }

    /// The summary for a terminal, columns aligned.
    pub fn text(&self) -> String {
        let mut text = aligned(&HEADERS, &self.rows());
        text.push('\n');
        text.extend(self.sentences().map(|sentence| sentence + "\n"));
        if !self.paired.is_empty() {
            text.push_str(&format!("\nCompared with {}, task by task:\n", self.cells[0].cell));
            text.push_str(&aligned(&PAIRED_HEADERS, &self.paired_rows()));
        }
        text
    }

    /// The summary in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = markdown(&HEADERS, &self.rows());
        text.extend(self.sentences().map(|sentence| format!("\n{}\n", escape(&sentence))));
        if !self.paired.is_empty() {
            text.push_str(&format!("\nCompared with {}, task by task:\n\n", escape(&self.cells[0].cell)));
            text.push_str(&markdown(&PAIRED_HEADERS, &self.paired_rows()));
        }
        text
    }

    /// What must be said below the table.
    fn sentences(&self) -> impl Iterator<Item = String> {
        let others = [self.without_tests_sentence(), self.skipped_sentence()];
        std::iter::once(self.union_sentence()).chain(others.into_iter().flatten())
    }

    /// What the union of the cells reaches, in words.
    pub(super) fn union_sentence(&self) -> String {
        let (tasks, passed) = self.union;
        format!("{passed} of {tasks} tasks are passed by at least one cell (held-out tests)")
    }

    /// What no held-out test judged, in words.
    pub(super) fn without_tests_sentence(&self) -> Option<String> {
        let (without, all) = (self.without_tests, self.union.0 + self.without_tests);
        (without > 0).then(|| {
            format!(
                "{without} of {all} tasks have no held-out test; they do not count in the held-out columns"
            )
        })
    }

    /// What was skipped, in words.
    pub(super) fn skipped_sentence(&self) -> Option<String> {
        let counts = self.cells.iter().zip(&self.skipped).filter(|(_, count)| **count > 0);
        let counts: Vec<String> = counts.map(|(row, count)| format!("{}: {count}", row.cell)).collect();
        let total: usize = self.skipped.iter().sum();
        (total > 0).then(|| {
            format!(
                "{total} sessions were skipped, as an earlier cell had solved their task; they count in no row above \
                 ({})",
                counts.join(", ")
            )
        })
    }

    /// The cells as texts, under [`HEADERS`].
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        self.cells.iter().map(CellRow::texts).collect()
    }

    /// The comparisons as texts, under [`PAIRED_HEADERS`].
    pub(super) fn paired_rows(&self) -> Vec<Vec<String>> {
        let row = |paired: &Paired| {
            vec![
                paired.cell.clone(),
                paired.tasks.to_string(),
                paired.gained.to_string(),
                paired.lost.to_string(),
                optional(paired.p, p_value),
            ]
        };
        self.paired.iter().map(row).collect()
    }
}

fn cell_row(run: &RunFiles, cell: usize) -> CellRow {
    let width = run.manifest.cells.len();
    let sessions = || (cell..run.results.len()).step_by(width).filter(|&i| run.results[i].is_some());
    let rows: Vec<_> = sessions().filter_map(|i| run.results[i].as_ref()).collect();
    let count = |test: fn(&crate::run::files::ResultRow) -> bool| rows.iter().filter(|row| test(row)).count();
    let passed_held_out = count(|row| row.held_out_verdict() == Some(true));
    let judged = count(|row| row.held_out_verdict().is_some());
    let config = &run.manifest.cells[cell].config;
    CellRow {
        cell: run.manifest.cells[cell].name.clone(),
        method: config.name().to_owned(),
        gamma: config.gamma(),
        tasks: rows.len(),
        judged,
        passed_held_out,
        interval: (judged > 0).then(|| wilson(passed_held_out, judged)),
        passed_guiding: count(|row| row.passed_guiding),
        unguided: count(|row| !row.guided),
        tokens: rows.iter().map(|row| row.generated_tokens).sum(),
        forward_passes: rows.iter().map(|row| row.forward_passes).sum(),
        executions: rows.iter().map(|row| row.executions).sum(),
        seconds: sessions().try_fold(0.0, |sum, i| Some(sum + run.timings[i].as_ref()?.seconds)),
    }
}

/// Headers of the cells' table.
pub(super) const HEADERS: [&str; 16] = [
    "cell",
    "method",
    "γ",
    "tasks",
    "held-out passed",
    "of",
    "%",
    "95 % interval",
    "guiding passed",
    "unguided",
    "tokens",
    "tokens/task",
    "forwards",
    "runs",
    "seconds",
    "tokens/s",
];

/// Headers of the comparisons' table.
pub(super) const PAIRED_HEADERS: [&str; 5] = ["cell", "tasks", "gained", "lost", "McNemar p"];

impl CellRow {
    fn texts(&self) -> Vec<String> {
        vec![
            self.cell.clone(),
            self.method.clone(),
            optional(self.gamma, |gamma| gamma.to_string()),
            self.tasks.to_string(),
            self.passed_held_out.to_string(),
            self.judged.to_string(),
            ratio(100.0 * self.passed_held_out as f64, self.judged as f64),
            optional(self.interval, range),
            self.passed_guiding.to_string(),
            self.unguided.to_string(),
            self.tokens.to_string(),
            ratio(self.tokens as f64, self.tasks as f64),
            self.forward_passes.to_string(),
            self.executions.to_string(),
            optional(self.seconds, |seconds| format!("{seconds:.1}")),
            ratio(self.tokens as f64, self.seconds.unwrap_or(0.0)),
        ]
    }
}

fn ratio(of: f64, by: f64) -> String {
    if by > 0.0 { format!("{:.1}", of / by) } else { "–".to_owned() }
}

/// Columns of a terminal: the first to the left, the others to the right.
pub(crate) fn aligned(headers: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = headers.iter().map(|header| (*header).to_owned()).collect();
    let clean = |row: &Vec<String>| row.iter().map(|text| one_line(text)).collect();
    let lines: Vec<Vec<String>> = std::iter::once(&header).chain(rows).map(clean).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].width()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..headers.len()).map(width).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width - cell.width());
            let cell = if column == 0 { format!("{cell}{padding}") } else { format!("  {padding}{cell}") };
            text.push_str(&cell);
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
        if number == 0 {
            let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
            text.push_str(&format!("{}\n", rule.join("  ")));
        }
    }
    text
}

/// A table in Markdown.
pub(super) fn markdown(headers: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n| --- |{}\n", headers.join(" | "), " ---: |".repeat(headers.len() - 1));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| escape(cell)).collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}

/// A text inside a Markdown table, whatever it holds.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '&' => escaped.extend(['\\', c]),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
