//! The programs of runs in the formats that benchmarks' own tools read.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::outcomes::RunOutcomes;
use super::study::{Attempt, Study};
use super::{ReportError, plain, write};
use crate::run::RunError;
use crate::session::prompts::preamble;
use crate::task::Task;

/// Whose format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// HumanEval's evaluator: lines of `{"task_id", "completion"}`.
    HumanEval,
    /// EvalPlus: lines of `{"task_id", "solution"}`.
    EvalPlus,
    /// bigcode-evaluation-harness: a list of programs for each task, in the dataset's order.
    Bigcode,
}

impl Format {
    /// Whether the tasks are needed: these tools run a program without its prompt, and so without what the prompt imports.
    pub fn needs_tasks(self) -> bool {
        self != Self::HumanEval
    }
}

/// Writes, into the folder `dir`, one file a cell, with all its seeds. `tasks` is the dataset, in its order.
///
/// # Errors
/// When a run cannot be read, a file cannot be written, or the format cannot hold what there is.
pub fn export(
    study: &Study,
    format: Format,
    tasks: &[Task],
    dir: &Path,
) -> Result<Vec<PathBuf>, ReportError> {
    std::fs::create_dir_all(dir).map_err(|e| RunError::io("create", dir, e))?;
    let programs = study.runs.iter().map(RunOutcomes::programs).collect::<Result<Vec<_>, _>>()?;
    let by_name: HashMap<&str, usize> = tasks.iter().map(|task| task.id.as_str()).zip(0..).collect();
    let places: Vec<Option<usize>> =
        study.tasks.iter().map(|task| by_name.get(task.as_str()).copied()).collect();
    let mut taken = HashSet::new();
    let mut paths = Vec::new();
    for setting in &study.settings {
        let program = |attempt: &Attempt, task: usize| {
            study.session(*attempt, task).and_then(|session| programs[attempt.run][session].as_deref())
        };
        let of_task = |task: usize| setting.attempts.iter().filter_map(move |attempt| program(attempt, task));
        let whole = |task: usize, program: &str| match places[task].map(|place| preamble(&tasks[place])) {
            Some(before) if !program.starts_with(&before) => format!("{before}{program}"),
            _ => program.to_owned(),
        };
        let lines = |line: &dyn Fn(usize, &str) -> Value| {
            let each =
                (0..study.tasks.len()).flat_map(|task| of_task(task).map(move |program| (task, program)));
            each.map(|(task, program)| line(task, program).to_string() + "\n").collect::<String>()
        };
        let text = match format {
            // After the prompt, whose function has a docstring for a body, the program defines it again.
            Format::HumanEval => lines(
                &|task, program| json!({ "task_id": study.tasks[task], "completion": format!("\n{program}") }),
            ),
            Format::EvalPlus => lines(
                &|task, program| json!({ "task_id": evalplus_name(&study.tasks[task]), "solution": whole(task, program) }),
            ),
            Format::Bigcode => {
                let order = contiguous(&places)
                    .map_err(|reason| ReportError::Export { cell: setting.name.clone(), reason })?;
                let all: Vec<Vec<String>> = order
                    .iter()
                    .map(|&task| of_task(task).map(|program| whole(task, program)).collect())
                    .collect();
                if all.iter().any(|programs| programs.len() != setting.attempts.len()) {
                    let reason = "some of its sessions are not finished or were skipped, and a list of programs cannot have holes";
                    return Err(ReportError::Export {
                        cell: setting.name.clone(),
                        reason: reason.to_owned(),
                    });
                }
                json!(all).to_string() + "\n"
            }
        };
        let extension = if format == Format::Bigcode { "json" } else { "jsonl" };
        let stem = plain(&setting.name);
        let mut name = format!("{stem}.{extension}");
        let mut count = 2;
        while !taken.insert(name.to_ascii_lowercase()) {
            name = format!("{stem}-{count}.{extension}");
            count += 1;
        }
        let path = dir.join(name);
        write(&path, &text)?;
        paths.push(path);
    }
    Ok(paths)
}

/// EvalPlus calls MBPP's tasks `Mbpp/…`.
fn evalplus_name(task: &str) -> String {
    match task.strip_prefix("MBPP/") {
        Some(number) => format!("Mbpp/{number}"),
        None => task.to_owned(),
    }
}

/// The study's tasks in the dataset's order, which must be without gaps: the harness knows tasks by their place alone.
fn contiguous(places: &[Option<usize>]) -> Result<Vec<usize>, String> {
    let mut order: Vec<(usize, usize)> =
        places.iter().enumerate().filter_map(|(task, place)| Some(((*place)?, task))).collect();
    order.sort_unstable();
    if order.len() < places.len() {
        return Err("some of its tasks are not in the dataset".to_owned());
    }
    if order.windows(2).any(|pair| pair[1].0 != pair[0].0 + 1) {
        return Err(
            "its tasks are not neighbours in the dataset, and the harness knows tasks by their place alone; \
                    run a range of them (`offset`, `limit`)"
                .to_owned(),
        );
    }
    Ok(order.into_iter().map(|(_, task)| task).collect())
}
