//! `vigor run --tui` on a pseudo-terminal: it draws, obeys its keys, and leaves the terminal as it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pty::{ENTER, OnTerminal};

mod pty;

const BIN: &str = env!("CARGO_BIN_EXE_vigor");

/// An experiment on so many tasks with a model that writes any bytes.
fn config(folder: &Path, tasks: usize) -> PathBuf {
    let task = |i| {
        format!(
            "{{\"task_id\":\"Own/{i}\",\"prompt\":\"def f{i}(x):\\n\",\"entry_point\":\"f{i}\",\
             \"tests\":[\"assert f{i}(1) == 1\",\"assert f{i}(2) == 2\"]}}\n"
        )
    };
    let (data, path) = (folder.join("own.jsonl"), folder.join("own.toml"));
    fs::write(&data, (0..tasks).map(task).collect::<String>()).unwrap();
    let text = format!(
        "[run]\nname = \"own\"\nmax_tokens = 60\nconcurrency = 2\n[model]\nname = \"random:tiny\"\n\
         [dataset]\nname = \"own\"\npath = {data:?}\nadapter = \"jsonl\"\n[sandbox]\npolicy = \"best-effort\"\n\
         [[method]]\nmethod = \"greedy\"\n[[method]]\nmethod = \"vigor\"\nn = 2\nhorizon = 1\ntop_p = 1\n"
    );
    fs::write(&path, text).unwrap();
    path
}

/// `vigor run --tui` of that experiment.
fn command(folder: &Path, tasks: usize) -> Command {
    let mut command = Command::new(BIN);
    command.arg("run").arg(config(folder, tasks)).arg("--out").arg(folder.join("run"));
    command.args(["--tui", "--offline", "--device", "cpu", "--threads", "1"]);
    command
}

/// A run that has long not ended when its dashboard shows the first step.
fn start(folder: &Path) -> OnTerminal {
    let mut run = OnTerminal::start(&mut command(folder, 5000), 100, 30);
    run.wait_for("a step", |output| output.contains(ENTER) && output.contains("committed"));
    run
}

#[test]
fn q_ends_the_run_and_gives_the_terminal_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = start(folder.path());
    run.resize(70, 20);
    run.wait_for("another picture", |output| {
        output.split_once("\x1b[2J").is_some_and(|(_, drawn)| drawn.contains("stop"))
    });
    run.wait_for("a sign of what may not be printed", |output| {
        output.contains(|c: char| ('\u{2400}'..='\u{2421}').contains(&c))
    });
    let output = run.output();
    let (_, picture) = output.split_once(ENTER).unwrap();
    let steers = picture.contains(|c: char| c.is_control() && c != '\x1b') || picture.contains("\x1b]");
    assert!(!steers, "{picture:?}");
    run.press("q");
    let (code, after) = run.end();
    assert_eq!(code, Some(130), "{after}");
    assert!(after.contains("give the same command again to go on"), "{after:?}");
}

#[test]
fn twice_at_once_stops_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = start(folder.path());
    run.press("\x03\x03");
    let (code, after) = run.end();
    assert_eq!(code, Some(130), "{after}");
    assert!(after.contains("interrupted") && !after.contains("sessions"), "{after:?}");
}

#[test]
fn a_signal_from_elsewhere_gives_the_terminal_back() {
    let folder = tempfile::tempdir().unwrap();
    let run = start(folder.path());
    run.signal(libc::SIGTERM);
    let (code, after) = run.end();
    assert_eq!(code, Some(130), "{after}");
    assert!(after.contains("give the same command again to go on"), "{after:?}");
}

#[test]
fn a_terminal_that_is_closed_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(start(folder.path()).close(), Some(130));
}

#[test]
fn a_finished_run_prints_its_table_where_it_stays_and_is_what_it_is_without() {
    let folder = tempfile::tempdir().unwrap();
    let (code, after) = OnTerminal::start(&mut command(folder.path(), 2), 80, 24).end();
    assert_eq!(code, Some(0), "{after}");
    assert!(after.contains("greedy") && after.contains("run:"), "{after:?}");
    let plain = folder.path().join("plain");
    let mut without = Command::new(BIN);
    without.arg("run").arg(config(folder.path(), 2)).arg("--out").arg(&plain);
    let output = without.args(["--offline", "--device", "cpu", "--threads", "1"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["results.jsonl", "trace.jsonl"] {
        let [with, without] =
            [folder.path().join("run"), plain.clone()].map(|out| fs::read(out.join(name)).unwrap());
        assert!(with == without && !with.is_empty(), "{name} differs");
    }
}

#[test]
fn without_a_terminal_it_is_refused_before_anything_happens() {
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path(), 2).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--tui draws on a terminal") && said.contains("leave --tui out"), "{said}");
    assert!(!folder.path().join("run").exists());
}
