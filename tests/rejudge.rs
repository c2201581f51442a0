//! `vigor eval RUN --mode`: verdicts by the sandbox or by a command in place of the recorded ones.

mod made_run;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use made_run::{Run, Session, names, write};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const RIGHT: &str = "def f(n):\n    return n + 1\n";
/// Passes the guiding test only.
const NARROW: &str = "def f(n):\n    return 2\n";

/// A run of three tasks, greedy and two strengths, and its dataset. All sessions are recorded as passed; those of γ = 1 did not.
struct Made {
    dir: tempfile::TempDir,
}

impl Made {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let task = |id: &String| {
            json!({
                "task_id": id,
                "prompt": "Add one.",
                "entry_point": "f",
                "guiding_tests": ["assert f(1) == 2"],
                "held_out_tests": ["assert f(2) == 3"],
            })
        };
        let dataset: String = names(3).iter().map(|id| task(id).to_string() + "\n").collect();
        fs::write(dir.path().join("tasks.jsonl"), &dataset).unwrap();
        let made = Self { dir };
        let run = made.run();
        let path = made.dir.path().join("tasks.jsonl");
        let methods = format!("path = {path:?}\nadapter = \"jsonl\"\n{}", Run::default().methods);
        write(&run, &Run { tasks: names(3), methods: &methods, ..Run::default() }, |_, cell| {
            let program = if cell == 1 { NARROW } else { RIGHT };
            Some(Session { program: program.to_owned(), ..Session::judged(true, true) })
        });
        let manifest = run.join("run_manifest.json");
        let mut value: Value = serde_json::from_str(&fs::read_to_string(&manifest).unwrap()).unwrap();
        let hash = Sha256::digest(dataset.as_bytes());
        value["dataset"]["sha256"] = hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
        fs::write(&manifest, value.to_string()).unwrap();
        made
    }

    fn run(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// The exit code, and what was printed: the answer and the remarks.
    fn eval(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vigor"));
        command.arg("eval").arg(self.run()).args(["--offline", "--allow-weaker-sandbox"]).args(arguments);
        let output = command.current_dir(self.dir.path()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// Held-out and guiding passes of each cell, and the notes.
    fn passed(&self, arguments: &[&str]) -> (Vec<(u64, u64)>, String, Value) {
        let (code, out, err) = self.eval(&[&["--json"], arguments].concat());
        assert_eq!(code, 0, "{err}");
        let told: Value = serde_json::from_str(&out).unwrap();
        let of = |cell: &Value, tests: &str| cell[tests]["passed"].as_u64().unwrap();
        let cells = told["cells"].as_array().unwrap();
        let passed = cells.iter().map(|cell| (of(cell, "held_out"), of(cell, "guiding"))).collect();
        (passed, told["notes"].to_string(), told["judge"].clone())
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }
}

#[test]
fn recorded_verdicts_count_unless_something_else_is_asked_for() {
    let made = Made::new();
    for arguments in [&[][..], &["--mode", "status_only"], &["--mode", "status-only"]] {
        let (passed, notes, judge) = made.passed(arguments);
        assert_eq!(passed, [(3, 3); 3]);
        assert!(judge == "status_only" && !notes.contains("differ"), "{judge} {notes}");
    }
}

#[test]
fn the_sandbox_judges_once_more_and_says_where_it_differs() {
    let made = Made::new();
    let mut arguments = vec!["--mode", "internal"];
    let python = std::env::var("VIGOR_TEST_PYTHON").unwrap_or_default();
    if !python.is_empty() {
        arguments.extend(["--python", &python]);
    }
    let (passed, notes, judge) = made.passed(&arguments);
    assert_eq!(passed, [(3, 3), (0, 3), (3, 3)]);
    assert_eq!(judge, "internal");
    assert!(notes.contains("3 of 18 differ"), "{notes}");
    assert!(notes.contains("T/0 eg-cfg γ=1 (held-out now not passed)"), "{notes}");
    let recorded = fs::read_to_string(made.run().join("results.jsonl")).unwrap();
    assert_eq!(recorded.matches("\"passed_held_out\":true").count(), 9, "the run itself stays what it is");
}

#[test]
fn a_command_judges_and_its_verdicts_are_those_of_the_held_out_tests() {
    let made = Made::new();
    let vigor = env!("CARGO_BIN_EXE_vigor");
    let command = format!(
        "{vigor} eval --offline --allow-weaker-sandbox --dataset jsonl:tasks.jsonl --samples {{predictions}} --out {{out}}"
    );
    let (passed, notes, judge) = made.passed(&["--external-command", &command, "--out", "it's judged"]);
    assert_eq!(passed, [(3, 3), (0, 3), (3, 3)]);
    assert_eq!(judge, "external");
    assert!(notes.contains("3 of 9 differ"), "{notes}");
    assert!(made.dir.path().join("it's judged/eg-cfg_gamma=1.verdicts.jsonl").is_file());
}

#[test]
fn the_results_of_evalplus_are_verdicts_too() {
    let made = Made::new();
    let result =
        |base: &str, plus: Value| json!([{ "base_status": base, "plus_status": plus, "solution": "" }]);
    let told = json!({
        "date": "",
        "eval": {
            "T/0": result("pass", Value::Null),
            "T/1": result("pass", "fail".into()),
            "T/2": result("pass", "pass".into()),
        },
    });
    made.write("told.json", &told.to_string());
    let (passed, _, _) =
        made.passed(&["--external-command", "cp told.json {out} # {predictions}", "--out", "out"]);
    assert_eq!(passed, [(2, 3); 3]);
}

#[test]
fn a_command_that_does_not_judge_every_program_is_refused() {
    let made = Made::new();
    made.write("short.sh", "head -n 2 \"$1\" | sed 's/\"solution\".*/\"passed\": true}/' > \"$2\"\n");
    made.write("other.sh", "sed 's/T/S/; s/\"solution\".*/\"passed\": true}/' \"$1\" > \"$2\"\n");
    made.write("not.sh", "echo nothing > \"$2\"\n");
    let cases: [(&str, i32, &str); 7] = [
        ("sh short.sh {predictions} {out}", 3, "0 verdicts on 1 programs of T/2"),
        ("sh other.sh {predictions} {out}", 3, "0 verdicts on 1 programs of T/0"),
        ("sh not.sh {predictions} {out}", 3, "verdicts.jsonl:1"),
        ("true {predictions} {out}", 1, "did not write"),
        ("false {predictions} {out}", 1, "failed: exit status: 1"),
        ("true {predictions}", 2, "does not say {out}"),
        ("true {out}", 2, "does not say {predictions}"),
    ];
    for (command, code, words) in cases {
        let (told, _, err) = made.eval(&["--external-command", command, "--out", "out"]);
        assert!(told == code && err.contains(words), "{command}: {told}, {err}");
    }
}

#[test]
fn what_belongs_to_another_mode_is_refused() {
    let made = Made::new();
    for (arguments, words) in [
        (&["--time", "3"][..], "--time goes with"),
        (&["--preload", "numpy"], "--preload goes with"),
        (&["--mode", "external"], "needs --external-command"),
        (&["--mode", "internal", "--external-command", "x", "--out", "o"], "goes with --mode external"),
        (&["--external-command", "x"], "--out"),
        (&["--out", "o"], "--out goes with"),
        (&["--dataset", "jsonl:tasks.jsonl"], "--dataset goes with"),
        (&["--mode", "internal", "--dataset", "jsonl:run/run_manifest.json"], "run_manifest.json"),
    ] {
        let (code, _, err) = made.eval(arguments);
        assert!((code == 2 || code == 3) && err.contains(words), "{arguments:?}: {code}, {err}");
    }
    assert!(!Path::new("o").exists());
}
