//! The summary of a run: one row a cell, the comparison of cells, and how they look as text.

use unicode_width::UnicodeWidthStr;

use super::evaluation_tables::p_value;
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
    /// Programs that passed all held-out tests: the score.
    pub passed_held_out: usize,
    /// Its 95 % Wilson interval, as fractions.
    pub interval: (f64, f64),
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

/// A cell compared with the run's first cell, on the tasks that both have finished.
#[derive(Debug, Clone, PartialEq)]
pub struct Paired {
    /// Name of the cell.
    pub cell: String,
    /// Tasks that both have finished.
    pub tasks: usize,
    /// Tasks that this cell passes and the first one does not.
    pub gained: usize,
    /// Tasks that the first cell passes and this one does not.
    pub lost: usize,
    /// p-value of the exact McNemar test.
    pub p: f64,
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
    /// Tasks with a finished session, and those that at least one cell passes on held-out tests. A bound on
    /// what choosing among the cells could reach, not the score of a method.
    pub union: (usize, usize),
}

impl Table {
    /// Adds up the sessions of a run.
    pub(super) fn new(run: &RunFiles) -> Self {
        let width = run.manifest.cells.len();
        let passed = |session: usize| run.results[session].as_ref().map(|row| row.passed_held_out);
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
                Paired { cell, tasks: both.len(), gained, lost, p: mcnemar(gained, lost) }
            })
            .collect();
        let of_task = |task: usize| (0..width).filter_map(move |cell| passed(task * width + cell));
        let union = (
            tasks().filter(|&task| of_task(task).next().is_some()).count(),
            tasks().filter(|&task| of_task(task).any(|passed| passed)).count(),
        );
        Self { cells, skipped, paired, union }
    }

    /// The summary for a terminal, columns aligned.
    pub fn text(&self) -> String {
        let mut text = aligned(&HEADERS, &self.rows());
        text.push_str(&format!("\n{}\n", self.union_sentence()));
        text.extend(self.skipped_sentence().map(|sentence| sentence + "\n"));
        if !self.paired.is_empty() {
            text.push_str(&format!("\nCompared with {}, task by task:\n", self.cells[0].cell));
            text.push_str(&aligned(&PAIRED_HEADERS, &self.paired_rows()));
        }
        text
    }

    /// The summary in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = markdown(&HEADERS, &self.rows());
        text.push_str(&format!("\n{}\n", escape(&self.union_sentence())));
        text.extend(self.skipped_sentence().map(|sentence| format!("\n{}\n", escape(&sentence))));
        if !self.paired.is_empty() {
            text.push_str(&format!("\nCompared with {}, task by task:\n\n", escape(&self.cells[0].cell)));
            text.push_str(&markdown(&PAIRED_HEADERS, &self.paired_rows()));
        }
        text
    }

    /// What the union of the cells reaches, in words.
    pub(super) fn union_sentence(&self) -> String {
        let (tasks, passed) = self.union;
        format!("{passed} of {tasks} tasks are passed by at least one cell (held-out tests)")
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
                p_value(paired.p),
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
    let passed_held_out = count(|row| row.passed_held_out);
    let config = &run.manifest.cells[cell].config;
    CellRow {
        cell: run.manifest.cells[cell].name.clone(),
        method: config.name().to_owned(),
        gamma: config.gamma(),
        tasks: rows.len(),
        passed_held_out,
        interval: wilson(passed_held_out, rows.len()),
        passed_guiding: count(|row| row.passed_guiding),
        unguided: count(|row| !row.guided),
        tokens: rows.iter().map(|row| row.generated_tokens).sum(),
        forward_passes: rows.iter().map(|row| row.forward_passes).sum(),
        executions: rows.iter().map(|row| row.executions).sum(),
        seconds: sessions().map(|i| run.timings[i].as_ref().map(|timing| timing.seconds)).sum(),
    }
}

/// Headers of the cells' table.
pub(super) const HEADERS: [&str; 15] = [
    "cell",
    "method",
    "γ",
    "tasks",
    "held-out passed",
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
        let (low, high) = self.interval;
        vec![
            self.cell.clone(),
            self.method.clone(),
            self.gamma.map_or_else(|| "–".to_owned(), |gamma| gamma.to_string()),
            self.tasks.to_string(),
            self.passed_held_out.to_string(),
            ratio(100.0 * self.passed_held_out as f64, self.tasks as f64),
            format!("{:.1} – {:.1}", 100.0 * low, 100.0 * high),
            self.passed_guiding.to_string(),
            self.unguided.to_string(),
            self.tokens.to_string(),
            ratio(self.tokens as f64, self.tasks as f64),
            self.forward_passes.to_string(),
            self.executions.to_string(),
            self.seconds.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.1}")),
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
