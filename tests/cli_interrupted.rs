//! A run through the binary, with a real model, that is interrupted and killed: the same command goes on and ends in
//! the same bytes; and its decisions follow from its trace, until somebody changes one.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use vigor::source::{FetchOptions, Kind, resolve};

const BIN: &str = env!("CARGO_BIN_EXE_vigor");

/// Sessions of the run: four tasks, two methods.
const SESSIONS: usize = 8;

fn item(name: &str, kind: Kind) -> PathBuf {
    let item = resolve(name, kind, &FetchOptions::default());
    item.unwrap_or_else(|e| panic!("`vigor pull {name}` is needed: {e}")).path
}

fn config(folder: &Path) -> PathBuf {
    let text = format!(
        "[run]\nname = \"interrupted\"\nseed = 3\nmax_tokens = 32\n[model]\nname = {:?}\n\
         [dataset]\nname = \"humaneval\"\npath = {:?}\nadapter = \"humaneval\"\nlimit = 4\n\
         [sandbox]\npolicy = \"best-effort\"\n[[method]]\nmethod = \"greedy\"\n\
         [[method]]\nmethod = \"vigor\"\nn = 2\nhorizon = 1\n",
        item("smollm2-135m-instruct", Kind::Model),
        item("humaneval", Kind::Dataset)
    );
    let path = folder.join("interrupted.toml");
    fs::write(&path, text).unwrap();
    path
}

fn command(config: &Path, out: &Path, concurrency: usize) -> Command {
    let mut command = Command::new(BIN);
    command.arg("run").arg(config).arg("--out").arg(out).args(["--offline", "--concurrency"]);
    command.arg(concurrency.to_string()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn journal(out: &Path) -> usize {
    let files = fs::read_dir(out.join("sessions")).into_iter().flatten().flatten();
    files.filter(|f| f.path().extension().is_some_and(|e| e == "jsonl")).count()
}

/// What must be the same however a run came to its end.
fn outputs(out: &Path) -> [Vec<u8>; 2] {
    ["results.jsonl", "trace.jsonl"].map(|name| fs::read(out.join(name)).unwrap())
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// How often the run was started, by its manifest, which is written when model and sandbox are ready.
fn parts(out: &Path) -> usize {
    let manifest = fs::read(out.join("run_manifest.json")).unwrap_or_default();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap_or_default();
    manifest["parts"].as_array().map_or(0, Vec::len)
}

/// Waits until the child has brought something about.
fn wait_for(child: &mut Child, what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before {what}");
        assert!(started.elapsed() < Duration::from_secs(120), "not in two minutes: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn replay(out: &Path) -> (Option<i32>, String) {
    let output = Command::new(BIN).arg("replay").arg(out).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output))
}

/// The same command again brings a killed run to the same end.
fn goes_on(config: &Path, out: &Path, expected: &[Vec<u8>]) {
    let before = journal(out);
    let output = command(config, out, 2).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let going_on = format!("{before} of {SESSIONS} sessions are finished already");
    assert!(before == SESSIONS || before == 0 || stderr(&output).contains(&going_on), "{}", stderr(&output));
    assert!(outputs(out) == expected, "killed and gone on with, {} differs", out.display());
}

#[test]
fn an_interrupted_run_goes_on_and_replay_finds_what_was_changed() {
    let home = tempfile::tempdir().unwrap();
    let config = config(home.path());
    let whole = home.path().join("whole");
    let output = command(&config, &whole, 2).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(journal(&whole), SESSIONS);
    let expected = outputs(&whole);

    // Ctrl-C after the first session.
    let cut = home.path().join("cut");
    let mut child = command(&config, &cut, 1).spawn().unwrap();
    wait_for(&mut child, "the first session", || journal(&cut) > 0);
    // SAFETY: the process is our child and not yet waited for, so the number is its own.
    assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) }, 0);
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{said}");
    let finished = journal(&cut);
    assert!((1..SESSIONS).contains(&finished), "{finished} of {SESSIONS} sessions");
    let told = format!("interrupted after {finished} of {SESSIONS} sessions; give the same command again");
    assert!(said.contains(&told) && !said.contains("error:") && !said.contains("panicked"), "{said}");

    // Then killed ten times at random moments: once while it may still load, then while it works. A run that comes to
    // its end meanwhile is looked at, and another one begun.
    let random = RandomState::new();
    let (mut cut, mut delays) = (cut, Vec::new());
    for kill in 0..10 {
        if journal(&cut) == SESSIONS {
            goes_on(&config, &cut, &expected);
            cut = home.path().join(format!("cut-{kill}"));
        }
        let before = parts(&cut);
        let mut child = command(&config, &cut, 1 + kill % 2).spawn().unwrap();
        if kill > 0 {
            wait_for(&mut child, "it works", || parts(&cut) > before);
        }
        delays.push(random.hash_one(kill) % 1000);
        std::thread::sleep(Duration::from_millis(delays[kill]));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    println!("killed after {delays:?} ms");
    goes_on(&config, &cut, &expected);

    let (code, said) = replay(&cut);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("8 sessions") && said.contains(" 0 differences"), "{said}");

    for (what, change) in [("greedy", change_token as fn(&mut Value) -> bool), ("vigor", change_choice)] {
        let trace = String::from_utf8(expected[1].clone()).unwrap();
        let mut events: Vec<Value> = trace.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let changed = events.iter_mut().rev().find_map(|event| change(event).then(|| event.clone()));
        let changed = changed.unwrap_or_else(|| panic!("no decision of {what} that could be changed"));
        let text: String = events.iter().map(|e| format!("{e}\n")).collect();
        fs::write(cut.join("trace.jsonl"), text).unwrap();
        let (code, said) = replay(&cut);
        assert_eq!(code, Some(1), "{said}");
        let (task, step) = (changed["session"]["task_id"].as_str().unwrap(), &changed["step"]);
        let named = said.lines().any(|l| l.contains(task) && l.contains(&format!("step {step}:")));
        assert!(named && said.contains(" 1 differences"), "{task} step {step} is not named: {said}");
    }
}

/// Makes a greedy step commit its second best first token.
fn change_token(event: &mut Value) -> bool {
    if event["decision"]["source"]["from"] != "greedy" {
        return false;
    }
    let Some(first) = event["decision"]["tokens"][0].as_u64() else { return false };
    let Some(top) = event["tokens"][0]["top"].as_array() else { return false };
    let Some(other) = top.iter().filter_map(|a| a["id"].as_u64()).find(|&id| id != first) else {
        return false;
    };
    event["tokens"][0]["id"] = other.into();
    event["decision"]["tokens"][0] = other.into();
    true
}

/// Makes a step that chose between two candidates choose the other one.
fn change_choice(event: &mut Value) -> bool {
    let candidates = event["candidates"].as_array().map_or(0, Vec::len);
    match event["decision"]["source"]["index"].as_u64() {
        Some(index) if candidates == 2 => {
            event["decision"]["source"]["index"] = (1 - index).into();
            true
        }
        _ => false,
    }
}
