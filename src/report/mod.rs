//! Reports: tables, a plot and pages, made from a run's files alone.
//!
//! A [`Study`] holds the outcomes of one or more runs, and an [`Evaluation`] their numbers: what each cell scores, costs, and how it
//! compares. [`report()`] reads a run's folder and writes, into it, `report.html`, one page a session in `trace_html/`,
//! and the summary as `evaluation/summary.md`. Pages are self-contained: no network, no other files. All
//! text from the run is taken for hostile; `markup` is the only way from a text into a page. [`replay_run`] writes
//! nothing: it says whether the files follow from each other.

mod budget;
mod compare;
pub mod diverge;
pub mod evaluation;
mod evaluation_tables;
pub mod export;
mod markup;
pub mod outcomes;
mod overview;
mod plot;
mod read;
pub mod rejudge;
mod replay;
mod session_page;
pub mod sheet;
pub mod stats;
pub mod study;
pub mod table;
pub mod trace_diff;
mod traces;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::run::RunError;
use crate::session::trace::Event;
pub use budget::Unjudged;
pub use evaluation::{Evaluation, EvaluationOptions};
pub use read::RunFiles;
pub use rejudge::Judge;
pub use replay::{RunReplay, replay_run};
pub use study::Study;
pub use table::Table;

/// Why no report can be made.
#[derive(Debug, Error)]
pub enum ReportError {
    /// A file of the run cannot be read or is malformed, or a page cannot be written.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A line is well formed and yet does not fit the run.
    #[error("{path}:{line}: {reason}")]
    Inconsistent {
        /// The file.
        path: PathBuf,
        /// Line in it, from 1.
        line: usize,
        /// What does not fit.
        reason: String,
    },
    /// Nothing to compare.
    #[error("no run is given; give the folder of at least one")]
    NoRun,
    /// A run is given twice, which would count its sessions twice.
    #[error("{dir} is given twice; give each run once")]
    Twice {
        /// The folder.
        dir: PathBuf,
    },
    /// The runs are of different datasets, whose tasks cannot be matched.
    #[error("{a} is of the dataset {of_a}, {b} of {of_b}; only runs of one dataset can be compared")]
    Datasets {
        /// The first run.
        a: PathBuf,
        /// Its dataset.
        of_a: String,
        /// A later run.
        b: PathBuf,
        /// Its dataset.
        of_b: String,
    },
    /// What a command said of the programs does not fit them.
    #[error(
        "{path}: {reason}; there must be a line {{\"task_id\", \"passed\"}} for each program that the command was given"
    )]
    Verdicts {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The cell has no independent samples to draw from.
    #[error(
        "{cell} has no independent samples; for equal budgets give a cell of the method `sample` whose sampler is `temperature`"
    )]
    NotSampled {
        /// The cell.
        cell: String,
    },
    /// There is no task of that name.
    #[error(
        "there is no task {task:?} in these runs; its name must be as in their results, for example HumanEval/0"
    )]
    NoTask {
        /// The name asked for.
        task: String,
    },
    /// A session has no trace.
    #[error("{cell} has no trace of {task}: the session is not finished, or was skipped")]
    NoTrace {
        /// The task.
        task: String,
        /// The cell.
        cell: String,
    },
    /// Two runs have no session with a trace in common.
    #[error(
        "{a} and {b} share no session: no task and cell of the same name is finished in both; give the cells with --cell"
    )]
    NothingShared {
        /// The first run.
        a: PathBuf,
        /// The second run.
        b: PathBuf,
    },
    /// A format cannot hold what a cell has.
    #[error("{cell} cannot be exported: {reason}")]
    Export {
        /// The cell.
        cell: String,
        /// Why.
        reason: String,
    },
    /// There is no cell of that name.
    #[error("there is no cell {name:?}; the cells are: {}", .known.join(", "))]
    NoCell {
        /// The name asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
}

/// What [`report()`] wrote, and what it found on the way.
#[derive(Debug, Clone)]
pub struct ReportPaths {
    /// The overview.
    pub overview: PathBuf,
    /// The summary in Markdown.
    pub summary: PathBuf,
    /// One page a session that has a result or a trace, in session order.
    pub pages: Vec<PathBuf>,
    /// The summary as numbers.
    pub table: Table,
    /// What a reader of the report should know: unfinished sessions, incomplete last lines …
    pub warnings: Vec<String>,
}

/// Makes the report of the run in folder `run_dir`, finished or not.
///
/// # Errors
/// When a file of the run is missing, malformed (with the line's number) or of a newer schema, and when a page
/// cannot be written.
pub fn report(run_dir: &Path) -> Result<ReportPaths, ReportError> {
    let mut run = RunFiles::load(run_dir)?;
    let table = Table::new(&run);
    let names = page_names(&run);
    let pages_dir = run_dir.join("trace_html");
    std::fs::create_dir_all(&pages_dir).map_err(|e| RunError::io("create", &pages_dir, e))?;

    let write_page = |index: usize, trace: &[Event]| {
        write(&pages_dir.join(&names[index]), &session_page::render(&run, index, trace, &names))
    };
    let mut links: Vec<Option<&str>> = vec![None; names.len()];
    let warnings = run.each_trace(|index, trace| {
        links[index] = Some(&names[index]);
        write_page(index, trace)?;
        Ok(())
    })?;
    // An interrupted run may have a result before its trace; the pages beside it lead to its page, too.
    for (index, link) in links.iter_mut().enumerate() {
        if link.is_none() && run.results[index].is_some() {
            *link = Some(&names[index]);
            write_page(index, &[])?;
        }
    }
    run.warnings.extend(warnings);
    let pages = links.iter().flatten().map(|name| pages_dir.join(name)).collect();

    let overview_path = run_dir.join("report.html");
    write(&overview_path, &overview::render(&run, &table, &links))?;
    let summary = run_dir.join("evaluation").join("summary.md");
    std::fs::create_dir_all(run_dir.join("evaluation")).map_err(|e| RunError::io("create", &summary, e))?;
    write(&summary, &table.markdown())?;
    Ok(ReportPaths { overview: overview_path, summary, pages, table, warnings: run.warnings })
}

/// The summary alone, without writing anything.
///
/// # Errors
/// As [`report()`].
pub fn summary(run_dir: &Path) -> Result<Table, ReportError> {
    Ok(Table::new(&RunFiles::load(run_dir)?))
}

fn write(path: &Path, text: &str) -> Result<(), RunError> {
    std::fs::write(path, text).map_err(|e| RunError::io("write", path, e))
}

/// `<task>.<cell>.html` for every session of the run, in ASCII, unique even where case does not count.
fn page_names(run: &RunFiles) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut names = Vec::new();
    for task in &run.manifest.task_ids {
        for cell in &run.manifest.cells {
            let stem = format!("{}.{}", plain(task), plain(&cell.name));
            let mut name = format!("{stem}.html");
            let mut count = 2;
            while !taken.insert(name.to_ascii_lowercase()) {
                name = format!("{stem}-{count}.html");
                count += 1;
            }
            names.push(name);
        }
    }
    names
}

/// A text as part of a file name and of a link, without anything that either would have to escape.
fn plain(text: &str) -> String {
    let text = text.replace('γ', "gamma");
    let keep = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '=' | '.' | '_');
    let name: String = text.chars().map(|c| if keep(c) { c } else { '_' }).take(80).collect();
    // Neither hidden nor a folder.
    if name.starts_with('.') { format!("_{name}") } else { name }
}
