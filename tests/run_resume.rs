//! A run survives its process: whatever stops it, the same command goes on and ends in the same bytes.
//!
//! The solver is a fake that derives its outcome from the job alone and takes a random short time.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fake_run::{Fake, config, manifest, outcome, outputs, run, tasks, undisturbed};
use proptest::prelude::*;
use vigor::run::journal::OUTPUTS;
use vigor::run::{
    Journal, Progress, RunManifest, SessionJob, SessionOutcome, SolveError, Solver, Summary, execute,
};

mod fake_run;

#[test]
fn bytes_do_not_depend_on_concurrency() {
    let dir = tempfile::tempdir().unwrap();
    let summary = run(dir.path(), &config(8, 0), &tasks(20), &Fake { millis: 5 }).unwrap();
    assert_eq!(summary, Summary { sessions: 80, resumed: 0, finished: 80 });
    assert_eq!(outputs(dir.path()), undisturbed(20));
}

#[test]
fn outputs_are_in_session_order() {
    let [results, ..] = undisturbed(2);
    let order: Vec<(String, String)> = results
        .lines()
        .map(|line| serde_json::from_str::<vigor::run::files::ResultRow>(line).unwrap().session)
        .map(|session| (session.task_id, session.cell))
        .collect();
    let expected: Vec<(String, String)> = ["Fake/0", "Fake/1"]
        .iter()
        .flat_map(|task| {
            ["greedy", "eg-cfg γ=0", "eg-cfg γ=1", "eg-cfg γ=3"].map(|cell| (task.to_string(), cell.into()))
        })
        .collect();
    assert_eq!(order, expected);
}

/// Not a test by itself: the process that `killed_at_any_moment…` starts and kills.
#[test]
fn child_process() {
    if let Some(dir) = std::env::var_os("VIGOR_TEST_RUN_DIR") {
        run(Path::new(&dir), &config(4, 0), &tasks(30), &Fake { millis: 20 }).unwrap();
    }
}

#[test]
fn killed_at_any_moment_a_run_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_process", "--test-threads=1"])
            .env("VIGOR_TEST_RUN_DIR", dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let journalled = || std::fs::read_dir(dir.path().join("sessions")).map_or(0, |files| files.count());
    let mut killed_midway = 0;
    for round in 0..10u64 {
        let before = journalled();
        let mut child = start();
        // Half of the kills wait until sessions are being written, however slow this machine is; the others
        // may hit the start.
        let began = Instant::now();
        while round % 2 == 0 && journalled() <= before && began.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(RandomState::new().hash_one(round) % 40));
        child.kill().unwrap();
        if !child.wait().unwrap().success() && journalled() > 0 && journalled() < 120 {
            killed_midway += 1;
        }
    }
    assert!(killed_midway > 0, "no kill hit the run midway; the test tested nothing");
    assert!(start().wait().unwrap().success());
    assert_eq!(outputs(dir.path()), undisturbed(30));
    let parts = RunManifest::load(dir.path()).unwrap().parts;
    assert!(parts.last().unwrap().finished_before > 0, "the last part went on from the journal");
}

#[test]
fn stopped_runs_go_on() {
    /// Stops the run after five sessions.
    struct Stopper<'a>(AtomicUsize, &'a AtomicBool);
    impl Progress for Stopper<'_> {
        fn session_finished(
            &self,
            _: usize,
            _: &vigor::run::files::ResultRow,
            _: &vigor::run::files::TimingRow,
        ) {
            if self.0.fetch_add(1, Ordering::SeqCst) == 4 {
                self.1.store(true, Ordering::SeqCst);
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let (config, tasks, stop) = (config(3, 0), tasks(8), AtomicBool::new(false));
    let mut journal = Journal::open(dir.path(), manifest(&config, &tasks)).unwrap();
    let stopper = Stopper(AtomicUsize::new(0), &stop);
    let summary = execute(&mut journal, &config, &tasks, &Fake { millis: 5 }, &stopper, &stop).unwrap();
    assert!(!summary.complete() && summary.finished >= 5 && summary.finished < 32, "{summary:?}");
    drop(journal);
    let again = run(dir.path(), &config, &tasks, &Fake { millis: 0 }).unwrap();
    assert_eq!(again, Summary { sessions: 32, resumed: summary.finished, finished: 32 });
    assert_eq!(outputs(dir.path()), undisturbed(8));
}

#[test]
fn a_full_disk_is_one_sentence_and_loses_nothing_finished() {
    /// Makes the journal file of session 9 land on a full device.
    struct FullDisk<'a>(&'a Path);
    impl Solver for FullDisk<'_> {
        fn solve(&self, job: &SessionJob, _: &dyn Progress) -> Result<SessionOutcome, SolveError> {
            if job.index == 9 {
                // The name under which this process writes what it has not finished writing.
                let mut claims = std::fs::read_dir(self.0.join("claims")).unwrap().flatten();
                let process = claims.find(|f| f.path().extension().is_some_and(|e| e == "process")).unwrap();
                let process = process.path().file_stem().unwrap().to_string_lossy().into_owned();
                let name = self.0.join(format!("sessions/000009.{process}.tmp"));
                std::os::unix::fs::symlink("/dev/full", name).unwrap();
            }
            Ok(outcome(job))
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let error = run(dir.path(), &config(2, 0), &tasks(8), &FullDisk(dir.path())).unwrap_err().to_string();
    assert!(error.contains("000009.jsonl") && error.contains("No space left"), "{error}");
    assert!(error.contains("run the same command again") && !error.contains('\n'), "{error}");
    let summary = run(dir.path(), &config(2, 0), &tasks(8), &Fake { millis: 0 }).unwrap();
    assert!(summary.resumed >= 8, "{summary:?}");
    assert_eq!(outputs(dir.path()), undisturbed(8));
}

#[test]
fn a_failing_or_panicking_session_ends_the_run_and_says_which() {
    struct Failing(bool);
    impl Solver for Failing {
        fn solve(&self, job: &SessionJob, _: &dyn Progress) -> Result<SessionOutcome, SolveError> {
            match job.index {
                6 if self.0 => panic!("boom at six"),
                6 => Err(SolveError::Failed("the engine is gone".into())),
                _ => Ok(outcome(job)),
            }
        }
    }
    for (panics, says) in [(true, "boom at six"), (false, "the engine is gone")] {
        let dir = tempfile::tempdir().unwrap();
        let error = run(dir.path(), &config(1, 0), &tasks(3), &Failing(panics)).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("Fake/1") && error.contains("eg-cfg γ=1"), "{error}");
        assert!(error.contains("6 finished sessions are kept"), "{error}");
        run(dir.path(), &config(1, 0), &tasks(3), &Fake { millis: 0 }).unwrap();
        assert_eq!(outputs(dir.path()), undisturbed(3));
    }
}

#[test]
fn numbers_that_json_cannot_hold_are_refused_when_written() {
    struct Infinite;
    impl Solver for Infinite {
        fn solve(&self, job: &SessionJob, _: &dyn Progress) -> Result<SessionOutcome, SolveError> {
            let mut outcome = outcome(job);
            outcome.timing.seconds = f64::INFINITY;
            Ok(outcome)
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let error = run(dir.path(), &config(1, 0), &tasks(1), &Infinite).unwrap_err().to_string();
    assert!(error.contains("000000.jsonl:3") && error.contains("null"), "{error}");
}

#[test]
fn a_folder_of_another_experiment_is_refused_with_the_key_that_differs() {
    let dir = tempfile::tempdir().unwrap();
    let (config0, tasks2) = (config(1, 0), tasks(2));
    run(dir.path(), &config0, &tasks2, &Fake { millis: 0 }).unwrap();
    let refused = |manifest: RunManifest| Journal::open(dir.path(), manifest).unwrap_err().to_string();

    let error = refused(manifest(&config(1, 5), &tasks2));
    assert!(error.contains("`configuration.run.seed`: it has 0, given is 5"), "{error}");
    let error = refused(manifest(&config0, &tasks(3)));
    assert!(error.contains("`task_ids`: it has 2 entries, given is 3 entries"), "{error}");
    let mut other = manifest(&config0, &tasks2);
    other.model.sha256 = "99".into();
    let error = refused(other);
    assert!(error.contains("`model.sha256`: it has \"00\", given is \"99\""), "{error}");
    let mut other = manifest(&config0, &tasks2);
    other.model.arithmetic = "cuda sm_90".into();
    let error = refused(other);
    assert!(error.contains("`model.arithmetic`") && error.contains("--device"), "{error}");
    let mut other = manifest(&config0, &tasks2);
    other.dataset.sha256 = "99".into();
    assert!(refused(other).contains("`dataset.sha256`"));

    // Another machine, another concurrency, another file name of the same model: the same run.
    let mut same = manifest(&config(8, 0), &tasks2);
    same.model.file = "renamed.gguf".into();
    same.parts[0].device = "cuda".into();
    let journal = Journal::open(dir.path(), same).unwrap();
    let devices: Vec<&str> = journal.manifest().parts.iter().map(|part| part.device.as_str()).collect();
    assert_eq!((devices, journal.finished()), (vec!["cpu", "cuda"], 8));
}

#[test]
fn a_manifest_from_before_there_were_gpus_is_one_of_the_processor() {
    let (dir, tasks) = (tempfile::tempdir().unwrap(), tasks(1));
    let config = config(1, 0);
    drop(Journal::open(dir.path(), manifest(&config, &tasks)).unwrap());
    let path = dir.path().join("run_manifest.json");
    let mut old: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    old["schema"] = 1.into();
    old["model"].as_object_mut().unwrap().remove("arithmetic").expect("it is written");
    std::fs::write(&path, old.to_string()).unwrap();
    let journal = Journal::open(dir.path(), manifest(&config, &tasks)).unwrap();
    assert_eq!(journal.manifest().model.arithmetic, "cpu");
}

#[test]
fn a_parameter_that_a_manifest_does_not_know_has_its_default() {
    let (dir, tasks) = (tempfile::tempdir().unwrap(), tasks(1));
    let config = config(1, 0);
    drop(Journal::open(dir.path(), manifest(&config, &tasks)).unwrap());
    let path = dir.path().join("run_manifest.json");
    let change = |speculate: Option<bool>| {
        let mut old: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for cells in ["/cells/1/config", "/configuration/cells/1/config"] {
            let config = old.pointer_mut(cells).unwrap().as_object_mut().unwrap();
            config.remove("speculate");
            config.extend(speculate.map(|value| ("speculate".to_owned(), value.into())));
        }
        std::fs::write(&path, old.to_string()).unwrap();
        Journal::open(dir.path(), manifest(&config, &tasks)).map(drop).map_err(|error| error.to_string())
    };
    change(None).unwrap();
    let error = change(Some(false)).unwrap_err();
    assert!(error.contains("`cells[1].config.speculate`: it has false, given is true"), "{error}");
}

#[test]
fn newer_manifests_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &config(1, 0), &tasks(1), &Fake { millis: 0 }).unwrap();
    let path = dir.path().join("run_manifest.json");
    let text = std::fs::read_to_string(&path).unwrap().replace("\"schema\": 2", "\"schema\": 9");
    std::fs::write(&path, text).unwrap();
    let error = Journal::open(dir.path(), manifest(&config(1, 0), &tasks(1))).unwrap_err().to_string();
    assert!(error.contains("schema version 9") && error.contains("newer vigor"), "{error}");
}

#[test]
fn results_without_a_journal_are_never_deleted() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &config(1, 0), &tasks(2), &Fake { millis: 0 }).unwrap();
    std::fs::remove_file(dir.path().join("sessions/000007.jsonl")).unwrap();
    let before = outputs(dir.path());
    let error = Journal::open(dir.path(), manifest(&config(1, 0), &tasks(2))).unwrap_err().to_string();
    assert!(error.contains("results.jsonl holds complete lines from line 8 on"), "{error}");
    assert_eq!(outputs(dir.path()), before);
}

#[test]
fn a_damaged_journal_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &config(1, 0), &tasks(1), &Fake { millis: 0 }).unwrap();
    let path = dir.path().join("sessions/000002.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &text[..text.len() - 5]).unwrap();
    let error = Journal::open(dir.path(), manifest(&config(1, 0), &tasks(1))).unwrap_err().to_string();
    assert!(error.contains("000002.jsonl") && error.contains("delete it"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Outputs cut anywhere, or with a torn line at their end, and sessions not finished: all is put right.
    #[test]
    fn damaged_tails_are_repaired(
        cuts in prop::array::uniform3(prop_oneof![Just(1.0), 0.0f64..1.0]),
        torn in prop::array::uniform3(prop::option::of("[^\n]{1,40}")),
        unfinished in prop::collection::vec(0usize..12, 0..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (config, tasks) = (config(2, 0), tasks(3));
        run(dir.path(), &config, &tasks, &Fake { millis: 0 }).unwrap();
        let whole = outputs(dir.path());
        for index in &unfinished {
            let _ = std::fs::remove_file(dir.path().join(format!("sessions/{index:06}.jsonl")));
        }
        // What a killed process can have left: at most the unbroken beginning of the journal, cut anywhere.
        let first_gap = unfinished.iter().min().copied().unwrap_or(12);
        let mut damaged = false;
        for (which, name) in OUTPUTS.iter().enumerate() {
            let sessions = whole[0].lines().take(first_gap).count();
            let lines = if which == 1 {
                let keys: Vec<serde_json::Value> = whole[0].lines().take(sessions)
                    .map(|line| serde_json::from_str(line).unwrap()).collect();
                whole[1].lines().take_while(|line| {
                    let line: serde_json::Value = serde_json::from_str(line).unwrap();
                    keys.iter().any(|key| key["task_id"] == line["session"]["task_id"]
                        && key["cell"] == line["session"]["cell"])
                }).count()
            } else {
                sessions
            };
            let kept: String = whole[which].split_inclusive('\n').take(lines).collect();
            let mut bytes = kept.as_bytes()[..(kept.len() as f64 * cuts[which]) as usize].to_vec();
            if let Some(text) = &torn[which] {
                bytes.extend_from_slice(text.as_bytes());
            }
            damaged |= bytes != kept.as_bytes();
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        let journal = Journal::open(dir.path(), manifest(&config, &tasks)).unwrap();
        prop_assert_eq!(damaged, !journal.repairs().is_empty());
        drop(journal);
        run(dir.path(), &config, &tasks, &Fake { millis: 0 }).unwrap();
        prop_assert_eq!(outputs(dir.path()), whole);
    }
}
