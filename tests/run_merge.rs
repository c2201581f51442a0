//! Folders of one experiment become one, in the bytes that one process leaves; what does not fit is refused by name.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use fake_run::{Fake, config, manifest, outputs, run, tasks, undisturbed};
use vigor::run::{Journal, Merged, NoProgress, RunManifest, Sharing, execute, merge};

mod fake_run;

const TASKS: usize = 7;

/// Computes shares of the run, each into a folder of its own.
fn shares(home: &Path, count: usize) -> Vec<PathBuf> {
    let share = |index: usize| {
        let dir = home.join(format!("share-{index}"));
        let (config, tasks) = (config(2, 0), tasks(TASKS));
        let shard = format!("{index}/{count}").parse().unwrap();
        let sharing = Sharing { shard, ..Sharing::default() };
        let mut journal = Journal::open_shared(&dir, manifest(&config, &tasks), sharing).unwrap();
        let (stop, fake) = (AtomicBool::new(false), Fake { millis: 0 });
        assert!(execute(&mut journal, &config, &tasks, &fake, &NoProgress, &stop).unwrap().complete());
        dir
    };
    (0..count).map(share).collect()
}

/// A run in two folders, and of the second the file of a session, with its text.
fn twice(home: &Path) -> (PathBuf, PathBuf, PathBuf, String) {
    let (a, b) = (home.join("a"), home.join("b"));
    for dir in [&a, &b] {
        run(dir, &config(1, 0), &tasks(2), &Fake { millis: 0 }).unwrap();
    }
    let path = b.join("sessions/000006.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    (a, b, path, text)
}

#[test]
fn shares_become_the_run_that_one_process_leaves() {
    let home = tempfile::tempdir().unwrap();
    let (mut shares, out) = (shares(home.path(), 3), home.path().join("whole"));
    shares.rotate_left(2);
    let merged = merge(&out, &shares).unwrap();
    assert_eq!(merged, Merged { sessions: 28, finished: 28, added: 28 });
    assert_eq!(outputs(&out), undisturbed(TASKS));
    assert!(!out.join("claims").exists());
    assert_eq!(RunManifest::load(&out).unwrap().parts.len(), 3);

    // Again, and from folders that overlap: nothing changes, nothing is recorded twice.
    shares.push(shares[0].clone());
    let again = merge(&out, &shares).unwrap();
    assert_eq!(again, Merged { added: 0, ..merged });
    assert_eq!(outputs(&out), undisturbed(TASKS));
}

#[test]
fn what_is_merged_in_turns_is_put_in_order_and_can_be_gone_on_with() {
    let home = tempfile::tempdir().unwrap();
    let (shares, out) = (shares(home.path(), 4), home.path().join("whole"));
    let merged = merge(&out, &shares[2..]).unwrap();
    // Tasks 2, 3 and 6 of 7, four cells each.
    assert_eq!(merged, Merged { sessions: 28, finished: 12, added: 12 });
    assert_eq!(outputs(&out), ["", "", ""], "the first session is not among them");
    let merged = merge(&out, &shares[..1]).unwrap();
    assert_eq!((merged.finished, merged.added), (20, 8));
    let whole = undisturbed(TASKS);
    assert!(whole[0].starts_with(&outputs(&out)[0]) && outputs(&out)[0].lines().count() == 4);
    let summary = run(&out, &config(2, 0), &tasks(TASKS), &Fake { millis: 0 }).unwrap();
    assert_eq!((summary.resumed, summary.finished), (20, 28));
    assert_eq!(outputs(&out), whole);
    let parts = RunManifest::load(&out).unwrap().parts;
    assert_eq!(parts.iter().map(|part| part.finished_before).collect::<Vec<_>>(), [0, 0, 0, 20]);
}

#[test]
fn another_experiment_is_refused_with_the_key_that_differs() {
    let home = tempfile::tempdir().unwrap();
    let (a, b) = (home.path().join("a"), home.path().join("b"));
    run(&a, &config(1, 0), &tasks(2), &Fake { millis: 0 }).unwrap();
    run(&b, &config(1, 5), &tasks(2), &Fake { millis: 0 }).unwrap();
    let out = home.path().join("out");
    let error = merge(&out, &[a.clone(), b.clone()]).unwrap_err().to_string();
    let named = format!("{} is not of the experiment in {}", b.display(), a.display());
    assert!(error.contains(&named), "{error}");
    assert!(error.contains("`configuration.run.seed` is 5, there it is 0"), "{error}");
    assert!(!out.exists(), "nothing is begun");
    let before = outputs(&b);
    let error = merge(&b, &[a]).unwrap_err().to_string();
    assert!(error.contains("`configuration.run.seed`: it has 5, given is 0"), "{error}");
    assert_eq!(outputs(&b), before);
}

#[test]
fn contradictions_are_refused_by_name_before_anything_is_written() {
    let home = tempfile::tempdir().unwrap();
    let (a, b, path, text) = twice(home.path());

    // How long a session took is no contradiction.
    std::fs::write(&path, text.replace("\"score\":0.6", "\"score\":0.7")).unwrap();
    merge(&home.path().join("timing"), &[a.clone(), b.clone()]).unwrap();
    assert_eq!(outputs(&home.path().join("timing")), undisturbed(2));

    for (was, is) in
        [("\"executions\":2", "\"executions\":3"), ("\"prompt_tokens\":7", "\"prompt_tokens\":8")]
    {
        assert!(text.contains(was));
        std::fs::write(&path, text.replace(was, is)).unwrap();
        let out = home.path().join("out");
        let error = merge(&out, &[a.clone(), b.clone()]).unwrap_err().to_string();
        assert!(error.contains("Fake/1 · eg-cfg γ=1"), "{error}");
        assert!(
            error.contains("a/sessions/000006.jsonl") && error.contains("b/sessions/000006.jsonl"),
            "{error}"
        );
        assert!(!out.exists(), "nothing is begun");
        let error = merge(&a, std::slice::from_ref(&b)).unwrap_err().to_string();
        assert!(error.contains("Fake/1 · eg-cfg γ=1"), "{error}");
        assert_eq!(outputs(&a), undisturbed(2));
    }
}

#[test]
fn what_the_clock_ended_may_differ() {
    let home = tempfile::tempdir().unwrap();
    let (a, b, path, text) = twice(home.path());
    let end = text.split("\"end\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    let ended = text.replace(&format!("\"end\":\"{end}\""), "\"end\":\"time_budget\"");
    std::fs::write(&path, ended.replace("\"executions\":2", "\"executions\":1")).unwrap();
    let merged = merge(&home.path().join("out"), &[a, b]).unwrap();
    assert_eq!((merged.sessions, merged.finished), (8, 8));
    assert_eq!(outputs(&home.path().join("out")), undisturbed(2), "that of the first folder counts");
}

#[test]
fn a_folder_that_is_no_run_or_is_damaged_is_named() {
    let home = tempfile::tempdir().unwrap();
    let a = home.path().join("a");
    run(&a, &config(1, 0), &tasks(1), &Fake { millis: 0 }).unwrap();
    let out = home.path().join("out");
    let error = merge(&out, &[a.clone(), home.path().join("none")]).unwrap_err().to_string();
    assert!(
        error.contains("none/run_manifest.json") && error.contains("give the folder of a run"),
        "{error}"
    );
    let path = a.join("sessions/000002.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &text[..text.len() - 5]).unwrap();
    let error = merge(&out, std::slice::from_ref(&a)).unwrap_err().to_string();
    assert!(error.contains("000002.jsonl"), "{error}");
    assert!(!out.exists());
}
