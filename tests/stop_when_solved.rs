//! Skipping the later cells of a task once it is solved: what is skipped depends on nothing but the cells before, is
//! recorded, is counted in no rate, and replay finds it again.
//!
//! The solver is a fake that passes by the session's number alone and takes a random short time.

mod fake_run;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fake_run::{manifest, tasks};
use vigor::report::{RunFiles, replay_run, report, summary};
use vigor::run::files::{ResultRow, TimingRow};
use vigor::run::journal::OUTPUTS;
use vigor::run::{
    Journal, NoProgress, Progress, RunConfig, RunManifest, SessionJob, SessionOutcome, SolveError, Solver,
    Summary, execute,
};
use vigor::session::trace::{
    End, EndReason, Event, SCHEMA_VERSION, SessionKey, Start, TestVerdict, TraceLine,
};

const CELLS: usize = 4;
const TASKS: usize = 30;

fn config(concurrency: usize, stop: &str) -> RunConfig {
    let text = format!(
        "[run]\nname = \"fake\"\nconcurrency = {concurrency}\n{stop}\n[model]\nname = \"none\"\n\
         [dataset]\nname = \"fake\"\n[[method]]\nmethod = \"greedy\"\nprompt = [\"default\", \"long-code\"]\nseed = [3, 4]\n"
    );
    RunConfig::parse(&text, Path::new("fake.toml")).unwrap()
}

const STOP: &str = "stop_when_solved = \"guiding\"";

/// The cell of a task that is the first to pass its guiding tests; of every fifth task none is.
fn first_to_pass(task: usize) -> Option<usize> {
    (!task.is_multiple_of(5)).then_some(task % CELLS)
}

/// Passes the guiding tests from a cell on that depends on the task; counts the sessions that it runs.
#[derive(Default)]
struct Fake {
    ran: AtomicUsize,
}

impl Solver for Fake {
    fn solve(&self, job: &SessionJob, _: &dyn Progress) -> Result<SessionOutcome, SolveError> {
        std::thread::sleep(Duration::from_micros(RandomState::new().hash_one(job.index) % 2000));
        if job.stop.load(Ordering::SeqCst) {
            return Err(SolveError::Stopped);
        }
        self.ran.fetch_add(1, Ordering::SeqCst);
        let (task, cell) = (job.index / CELLS, job.index % CELLS);
        let session = SessionKey {
            task_id: job.task.id.clone(),
            cell: job.cell.name.clone(),
            method: "greedy".into(),
            gamma: None,
            seed: job.seed,
        };
        let passed = first_to_pass(task).is_some_and(|first| cell >= first);
        let verdict = |passed: bool| {
            vec![TestVerdict {
                kind: if passed { "passed" } else { "failed" }.into(),
                message: String::new(),
            }]
        };
        let mut policy = serde_json::json!({ "method": job.cell.config });
        if !job.cell.prompt.is_default() {
            policy["prompt"] = job.cell.prompt.name().into();
        }
        let start = Start {
            schema: SCHEMA_VERSION,
            prompt: String::new(),
            prompt_tokens: 1,
            guiding_tests: vec!["t".into()],
            guided: true,
            policy,
        };
        let end = End { reason: EndReason::EndOfText, program: String::new() };
        let event = |event| TraceLine { session: session.clone(), event };
        Ok(SessionOutcome {
            events: vec![event(Event::Start(start)), event(Event::End(end))],
            result: ResultRow {
                session: session.clone(),
                program: String::new(),
                guiding: verdict(passed),
                held_out: verdict(passed && task.is_multiple_of(2)),
                passed_guiding: passed,
                passed_held_out: passed && task.is_multiple_of(2),
                guided: true,
                steps: 0,
                generated_tokens: 10,
                committed_tokens: 0,
                prefill_tokens: 1,
                forward_passes: 1,
                drafted_tokens: 0,
                accepted_tokens: 0,
                executions: 0,
                end: EndReason::EndOfText,
                solved_by: None,
            },
            timing: TimingRow::skipped(session),
        })
    }
}

fn run(dir: &Path, config: &RunConfig, solver: &dyn Solver, stop: &AtomicBool) -> Summary {
    let mut journal = Journal::open(dir, manifest(config, &tasks(TASKS))).unwrap();
    execute(&mut journal, config, &tasks(TASKS), solver, &NoProgress, stop).unwrap()
}

fn outputs(dir: &Path) -> [String; 3] {
    OUTPUTS.map(|name| std::fs::read_to_string(dir.join(name)).unwrap())
}

/// What a run with that many sessions at once leaves, and how many it really ran.
fn undisturbed(concurrency: usize) -> ([String; 3], usize) {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    assert!(run(dir.path(), &config(concurrency, STOP), &fake, &AtomicBool::new(false)).complete());
    (outputs(dir.path()), fake.ran.into_inner())
}

fn ran() -> usize {
    (0..TASKS).map(|task| first_to_pass(task).map_or(CELLS, |first| first + 1)).sum()
}

#[test]
fn later_cells_are_skipped_and_say_by_whom_the_task_was_solved() {
    let ([results, trace, _], count) = undisturbed(1);
    assert_eq!(count, ran());
    let rows: Vec<ResultRow> = results.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), TASKS * CELLS);
    let names: Vec<&str> = rows[..CELLS].iter().map(|row| row.session.cell.as_str()).collect();
    for (index, row) in rows.iter().enumerate() {
        let by = first_to_pass(index / CELLS).filter(|first| index % CELLS > *first);
        assert_eq!(row.solved_by.as_deref(), by.map(|first| names[first]), "session {index}");
        assert_eq!(row.end == EndReason::Skipped, by.is_some());
        assert_eq!(row.session.seed, [3, 4, 3, 4][index % CELLS]);
        assert!(
            !row.is_skipped() || !row.passed_guiding && !row.passed_held_out && row.generated_tokens == 0
        );
    }
    assert_eq!(trace.lines().count(), 2 * ran());
    // Without the option every session runs, and the manifest is one that older versions read.
    let (dir, fake) = (tempfile::tempdir().unwrap(), Fake::default());
    run(dir.path(), &config(2, ""), &fake, &AtomicBool::new(false));
    assert_eq!(fake.ran.into_inner(), TASKS * CELLS);
    assert_eq!(RunManifest::load(dir.path()).unwrap().schema, 2);
    assert_eq!(manifest(&config(1, STOP), &tasks(TASKS)).schema, 3);
}

#[test]
fn what_is_skipped_depends_neither_on_company_nor_on_interruptions() {
    let (expected, _) = undisturbed(1);
    assert_eq!(undisturbed(8), (expected.clone(), ran()));
    /// Stops the run every so many sessions.
    struct Stopper<'a>(AtomicUsize, &'a AtomicBool);
    impl Progress for Stopper<'_> {
        fn session_finished(&self, _: usize, _: &ResultRow, _: &TimingRow) {
            if self.0.fetch_add(1, Ordering::SeqCst) == 6 {
                self.1.store(true, Ordering::SeqCst);
            }
        }
    }
    let (dir, config) = (tempfile::tempdir().unwrap(), config(3, STOP));
    let (mut rounds, fake) = (0, Fake::default());
    loop {
        let stop = AtomicBool::new(false);
        let mut journal = Journal::open(dir.path(), manifest(&config, &tasks(TASKS))).unwrap();
        let stopper = Stopper(AtomicUsize::new(0), &stop);
        if execute(&mut journal, &config, &tasks(TASKS), &fake, &stopper, &stop).unwrap().complete() {
            break;
        }
        rounds += 1;
    }
    assert!(rounds > 5, "{rounds} interruptions");
    assert_eq!(outputs(dir.path()), expected);
    assert_eq!(fake.ran.into_inner(), ran());
}

#[test]
fn skipped_sessions_are_in_no_rate() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &config(4, STOP), &Fake::default(), &AtomicBool::new(false));
    let table = summary(dir.path()).unwrap();
    for (cell, row) in table.cells.iter().enumerate() {
        let left = (0..TASKS).filter(|task| first_to_pass(*task).is_none_or(|first| first >= cell));
        assert_eq!(row.tasks, left.clone().count(), "{}", row.cell);
        let passed = left.filter(|task| first_to_pass(*task) == Some(cell));
        assert_eq!(row.passed_guiding, passed.clone().count());
        assert_eq!(row.passed_held_out, passed.filter(|task| task.is_multiple_of(2)).count());
        assert_eq!(table.skipped[cell], TASKS - row.tasks);
    }
    assert_eq!(table.paired, [], "cells that saw different tasks are not compared");
    let skipped = TASKS * CELLS - ran();
    for text in [table.text(), table.markdown()] {
        assert!(text.contains(&format!("{skipped} sessions were skipped")), "{text}");
    }
    let paths = report(dir.path()).unwrap();
    assert!(paths.warnings.iter().any(|w| w.contains("not pass@1")), "{:?}", paths.warnings);
    assert!(!paths.warnings.iter().any(|w| w.contains("are finished")), "{:?}", paths.warnings);
    assert_eq!(paths.pages.len(), ran());
    let page = std::fs::read_to_string(paths.overview).unwrap();
    assert!(page.contains("skipped, an earlier cell had solved the task"));
}

#[test]
fn replay_finds_what_should_have_been_skipped_and_what_should_not() {
    let dir = tempfile::tempdir().unwrap();
    let finished = config(1, STOP);
    run(dir.path(), &finished, &Fake::default(), &AtomicBool::new(false));
    let path = dir.path().join("results.jsonl");
    let good = std::fs::read_to_string(&path).unwrap();
    let replayed = |change: &dyn Fn(Vec<ResultRow>) -> Vec<ResultRow>| {
        let rows = change(good.lines().map(|line| serde_json::from_str(line).unwrap()).collect());
        let lines: String = rows.iter().map(|row| serde_json::to_string(row).unwrap() + "\n").collect();
        std::fs::write(&path, lines).unwrap();
        replay_run(&RunFiles::load(dir.path()).unwrap()).unwrap()
    };
    let whole = replayed(&|rows| rows);
    assert_eq!((whole.sessions, whole.skipped, whole.differences), (ran(), TASKS * CELLS - ran(), vec![]));

    let found = |change: &dyn Fn(&mut Vec<ResultRow>)| {
        let replayed = replayed(&|mut rows| {
            change(&mut rows);
            rows
        });
        let told: Vec<_> =
            replayed.differences.into_iter().map(|(i, d)| format!("{i}: {}", d.what)).collect();
        told.join("\n")
    };
    // Task 1 is solved by its cell 1, so that sessions 6 and 7 are skipped.
    let text = found(&|rows| rows[7].solved_by = Some("nobody".into()));
    assert!(text.contains("7: it was skipped for \"nobody\"") && text.contains("seed=4"), "{text}");
    let text = found(&|rows| {
        rows[5].passed_guiding = false;
        rows[5].guiding[0].kind = "failed".into();
    });
    assert!(text.contains("6: it was skipped") && text.contains("no cell had solved"), "{text}");
    let text = found(&|rows| rows[5].guiding[0].kind = "failed".into());
    assert!(text.contains("5: the result does not follow from its verdicts"), "{text}");
    let text = found(&|rows| {
        rows[7].end = EndReason::EndOfText;
        rows[7].solved_by = None;
    });
    assert!(
        text.contains("7: it ran, although") && text.contains("7: it has a result and no trace"),
        "{text}"
    );
    let text = found(&|rows| rows[4].program = "x = 1\n".into());
    assert!(text.contains("4: the result has another program"), "{text}");
    let text = found(&|rows| rows[4].session.seed = 9);
    assert!(text.contains("4: method, γ or seed"), "{text}");
}
