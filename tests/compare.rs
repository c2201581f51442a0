//! `vigor compare`, `vigor diff` and `vigor eval RUN` through the binary.

mod made_run;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use made_run::{Run, Session, candidate, decoded, names, write};
use serde_json::{Value, json};
use vigor::session::trace::{Alternative, DecodedToken, Signal, Source, Step};

fn vigor(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vigor"))
        .current_dir(folder)
        .args(arguments)
        .output()
        .expect("vigor runs")
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("it ends"), text(&output.stdout), text(&output.stderr))
}

/// A line decoded under guidance, with everything that a step can hold.
fn guided(step: usize, line: &str, id: u32) -> Step {
    let mut made = decoded(step, line);
    made.candidates = vec![candidate(0, &format!("{line}    # a candidate\n"), 9, -0.5, false)];
    made.signal = Some(Signal { text: "f() returned 7".into(), prompt_tokens: 40, capped: false });
    let top = vec![
        Alternative { id, p: 0.25f32.ln(), q: Some(0.5f32.ln()) },
        Alternative { id: 99, p: 0.125f32.ln(), q: Some(0.125f32.ln()) },
    ];
    made.tokens = vec![DecodedToken { id, text: line.into(), top }];
    made.decision.source = Source::Guided;
    made
}

/// Greedy and γ = 1 agree on the first line and part at the second; γ = 3 writes what γ = 1 does. Only γ = 1 passes task 2.
fn parting(task: usize, cell: usize) -> Option<Session> {
    let mut session = Session::judged(task < 2 || (task == 2 && cell == 1), task < 3);
    session.tokens = [50, 300, 400][cell];
    let second = if cell == 0 { "    return 1\n" } else { "    return 2\n" };
    session.program = format!("def f():\n{second}");
    session.steps = match cell {
        0 => vec![decoded(0, "def f():\n"), decoded(1, second)],
        _ => vec![decoded(0, "def f():\n"), guided(1, second, 5)],
    };
    Some(session)
}

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a folder");
    write(&home.path().join("a"), &Run { name: "a", ..Run::default() }, parting);
    home
}

#[test]
fn a_comparison_is_a_table_and_a_page() {
    let home = home();
    let (code, out, err) = told(&vigor(home.path(), &["compare", "a", "--base", "eg-cfg gamma=1"]));
    assert_eq!(code, 0, "{err}");
    let row = out.lines().find(|line| line.starts_with("greedy ")).expect("a row");
    for words in ["50.0", "15.0 – 85.0", " 50 (50 – 50) ", " 2.0 (2.0 – 2.0) ", "-25.0", "1.000"] {
        assert!(row.contains(words), "{words}: {row}");
    }
    assert!(out.contains("d, 4 tasks that every cell has finished"), "{out}");
    let path = home.path().join("a/evaluation/comparison.html");
    assert!(err.contains("page: a/evaluation/comparison.html") && path.is_file(), "{err}");
    let html = fs::read_to_string(path).expect("UTF-8");
    for words in
        ["eg-cfg γ=3", "guidance strength γ", "tokens a task", "forward passes a task", "seconds a task"]
    {
        assert!(html.contains(words), "{words}");
    }
    assert_eq!(html.matches("<script>").count(), 0);
    assert!(!html.contains("src=") && html.matches("http://").count() == html.matches("xmlns=").count());
    let (code, out, _) = told(&vigor(home.path(), &["compare", "a", "--csv", "--page", "page.html"]));
    assert_eq!((code, out.lines().count()), (0, 4), "{out}");
    assert!(home.path().join("page.html").is_file());
    let (code, _, err) = told(&vigor(home.path(), &["compare", "a", "--page", "no/page.html"]));
    assert!(code == 6 && err.contains("no/page.html"), "{code} {err}");
}

#[test]
fn runs_are_matched_by_task() {
    let home = home();
    let other = Run { name: "b", model: "other", tasks: names(6)[1..].to_vec(), ..Run::default() };
    write(&home.path().join("b"), &other, |task, _| (task != 0).then(|| Session::judged(true, true)));
    let (code, out, err) = told(&vigor(home.path(), &["compare", "a", "b"]));
    assert_eq!(code, 0, "{err}");
    // a has T/0 to T/3; b has T/1 to T/5 and has not finished T/1.
    assert!(out.contains("d, 2 tasks that every cell has finished"), "{out}");
    assert!(
        out.contains("of 6 tasks only the 2 count") && out.contains("b is of another model than a"),
        "{out}"
    );
    write(&home.path().join("c"), &Run { dataset: "another", ..Run::default() }, parting);
    let (code, _, err) = told(&vigor(home.path(), &["compare", "a", "c"]));
    assert!(code == 3 && err.contains("only runs of one dataset"), "{code} {err}");
}

#[test]
fn where_two_cells_part_is_told_step_by_step() {
    let home = home();
    let compare = |more: &[&str]| {
        let (code, out, err) = told(&vigor(home.path(), &[&["compare", "a", "--task"], more].concat()));
        (code, out + &err)
    };
    let (code, text) = compare(&["T/2", "--cell", "greedy", "--cell", "eg-cfg γ=1"]);
    assert_eq!(code, 0, "{text}");
    for words in [
        "T/2: greedy and eg-cfg γ=1 wrote the same 1 lines and part at line 2",
        "    def f():",
        "greedy\n        return 1\n  step 1: decoded greedily",
        "eg-cfg γ=1\n        return 2\n  step 1: decoded under guidance",
        "candidate 0: executable, complete, 0/1 tests (failed), log p -4.50 over 9 tokens",
        "    │     return 2",
        "signal, 14 characters:\n    │ f() returned 7",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    let html = fs::read_to_string(home.path().join("a/evaluation/comparison.html")).expect("a page");
    assert!(html.contains("Where two cells part") && html.contains("part at line 2"));
    let (_, text) = compare(&["T/2", "--cell", "eg-cfg gamma=1", "--cell", "eg-cfg gamma=3"]);
    assert!(text.contains("eg-cfg γ=1 and eg-cfg γ=3 wrote the same program"), "{text}");
    let (code, text) = compare(&["T/2"]);
    assert!(code == 2 && text.contains("--cell A --cell B"), "{text}");
    let (code, text) = compare(&["T/9", "--cell", "eg-cfg γ=1"]);
    assert!(code == 3 && text.contains("no task \"T/9\""), "{text}");
}

#[test]
fn traces_are_compared_session_by_session() {
    let home = home();
    let diff = |arguments: &[&str]| {
        let (code, out, err) = told(&vigor(home.path(), &[&["diff"], arguments].concat()));
        (code, out + &err)
    };
    write(&home.path().join("b"), &Run { name: "b", ..Run::default() }, parting);
    let (code, text) = diff(&["a", "b"]);
    assert!(code == 0 && text.contains("12 sessions compared, 0 differ"), "{text}");

    // Another token's probability in one session, another order of cells, and a session less.
    let methods = "[[method]]\nmethod = \"eg-cfg\"\ngamma = [3, 1]\n[[method]]\nmethod = \"greedy\"\n";
    write(&home.path().join("c"), &Run { name: "c", methods, ..Run::default() }, |task, cell| {
        let mut session = parting(task, 2 - cell)?;
        if (task, cell) == (1, 1) {
            session.steps[1].tokens[0].top[1].p = 0.0625f32.ln();
        }
        if (task, cell) == (2, 0) {
            session.steps[1].candidates[0].logprob = -7.0;
            session.steps[1].signal.as_mut().expect("a signal").text = "f() returned 8".into();
        }
        (task != 3).then_some(session)
    });
    let (code, text) = diff(&["a", "c"]);
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("9 sessions compared, 2 differ") && text.contains("3 sessions have a trace in a only"),
        "{text}"
    );
    assert!(
        text.contains("T/1 · eg-cfg γ=1, step 1\n  tokens\n    - token 0:") && text.contains("99 p 0.0625"),
        "{text}"
    );
    assert!(text.contains("T/2 · eg-cfg γ=3, step 1\n  candidates\n    - #0 log p: \"-4.5\""), "{text}");
    assert!(text.contains("  signal\n    - \"f() returned 7\"\n    + \"f() returned 8\""), "{text}");

    let (code, text) = diff(&["a", "c", "--task", "T/0"]);
    assert!(code == 0 && text.contains("3 sessions compared, 0 differ"), "{text}");
    let (code, text) = diff(&["a", "a", "--cell", "greedy", "--cell", "eg-cfg gamma=1", "--task", "T/0"]);
    assert!(code == 1 && text.contains("T/0 · greedy, step 1\n  candidates"), "{text}");
    for (arguments, words) in [
        (&["a", "b", "--task", "T/9"][..], "no task \"T/9\""),
        (&["a", "b", "--cell", "sample"], "no cell \"sample\"; the cells are: greedy"),
        (&["a", "c", "--task", "T/3"], "share no session"),
        (&["a", "nowhere"], "nowhere"),
    ] {
        let (code, text) = diff(arguments);
        assert!(code == 3 && text.contains(words), "{arguments:?}: {code} {text}");
    }
}

#[test]
fn eval_takes_runs_or_samples() {
    let home = home();
    let eval = |arguments: &[&str]| told(&vigor(home.path(), &[&["eval"], arguments].concat()));
    let (code, out, err) = eval(&["a"]);
    assert!(code == 0 && out.contains("Pass rates: d, 4 tasks"), "{out}{err}");
    assert!(out.contains("Compared with greedy on held-out tests, task by task"), "{out}");
    let (code, out, _) = eval(&["a", "--json"]);
    let json: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &json["schema"], &json["cells"][1]["cell"]), (0, &json!(1), &json!("eg-cfg γ=1")));
    assert_eq!(json["cells"][1]["held_out"]["passed"], 3);
    let (code, out, _) = eval(&["a", "--markdown", "--base", "eg-cfg γ=3"]);
    assert!(code == 0 && out.contains("### Compared with eg-cfg γ=3 on guiding tests"), "{out}");
    for (arguments, wanted, words) in [
        (&[][..], 2, "required"),
        (&["a", "--samples", "x"], 2, "cannot be used with"),
        (&["a", "--time", "3"], 2, "--time goes with --samples"),
        (&["--dataset", "mbpp", "--samples", "x", "--csv"], 2, "cannot be used with"),
        (&["a", "--json", "--csv"], 2, "cannot be used with"),
        (&["a", "--out", "x"], 2, "--out goes with --export"),
        (&["a", "--dataset", "x"], 2, "--dataset goes with --samples, --export"),
        (&["a", "--k", "0"], 2, "at least 1"),
        (&["a", "--base", "none"], 3, "the cells are: greedy, eg-cfg γ=1, eg-cfg γ=3"),
        (&["a", "a/"], 3, "is given twice"),
        (&["a", "--equal-budget", "greedy"], 3, "has no independent samples"),
        (&["nowhere"], 3, "give the folder of a run"),
    ] {
        let (code, _, err) = eval(arguments);
        assert!(code == wanted && err.contains(words), "{arguments:?}: {code} {err}");
    }
}

#[test]
fn what_was_skipped_is_no_attempt() {
    let home = tempfile::tempdir().expect("a folder");
    write(&home.path().join("a"), &Run { name: "a", ..Run::default() }, |task, cell| match (task, cell) {
        (0, 1..) => Some(Session::skipped("greedy")),
        _ => parting(task, cell),
    });
    let (code, out, err) = told(&vigor(home.path(), &["eval", "a"]));
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("2 sessions were skipped") && out.contains("cells are not compared"), "{out}");
    assert!(!out.contains("Compared with") && !out.contains("sessions are finished"), "{out}");
    assert!(out.contains("attempts of 3 cells together"), "{out}");
    // What is left to a cell is no ground for a comparison.
    let (code, _, err) = told(&vigor(home.path(), &["compare", "a"]));
    assert!(code == 3 && err.contains("stop_when_solved"), "{code} {err}");
    let json = told(&vigor(home.path(), &["eval", "a", "--json"])).1;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (&json["cells"][1]["held_out"]["tasks"], &json["cells"][1]["finished"]),
        (&json!(3), &json!(3))
    );
}

#[test]
fn programs_are_exported_for_the_tools_of_benchmarks() {
    let home = tempfile::tempdir().expect("a folder");
    let task = |number: usize| {
        json!({
            "task_id": format!("HumanEval/{number}"),
            "prompt": format!("import math\n\ndef f{number}():\n    \"\"\"One.\"\"\"\n"),
            "entry_point": format!("f{number}"),
            "canonical_solution": "    return 1\n",
            "test": "def check(candidate):\n    assert candidate() == 1\n",
        })
    };
    let dataset: String = (0..4).map(|number| task(number).to_string() + "\n").collect();
    fs::write(home.path().join("tasks.jsonl"), &dataset).expect("written");
    let tasks = |numbers: &[usize]| numbers.iter().map(|n| format!("HumanEval/{n}")).collect::<Vec<_>>();
    let made = |name: &str, seed: u64, numbers: &[usize], unfinished: usize| {
        let run = Run {
            name,
            seed,
            tasks: tasks(numbers),
            methods: "[[method]]\nmethod = \"vigor\"\nn = [2, 3]\n",
            ..Run::default()
        };
        write(&home.path().join(name), &run, |task, cell| {
            let mut session = Session::judged(true, true);
            session.program = format!("def f{}():\n    return {seed}{cell}\n", numbers[task]);
            (task != unfinished).then_some(session)
        });
    };
    // The manifest has the dataset's hash as the sources give it.
    let hash = |name: &str| {
        let path = home.path().join(name).join("run_manifest.json");
        let mut manifest: Value =
            serde_json::from_str(&fs::read_to_string(&path).expect("it")).expect("JSON");
        let found = vigor::source::resolve(
            home.path().join("tasks.jsonl").to_str().expect("UTF-8"),
            vigor::source::Kind::Dataset,
            &vigor::source::FetchOptions::default(),
        );
        manifest["dataset"]["sha256"] = json!(found.expect("a file").sha256);
        fs::write(path, manifest.to_string()).expect("written");
    };
    made("one", 1, &[2, 1], 9);
    made("two", 2, &[2, 1], 9);
    made("gap", 1, &[0, 2], 9);
    made("part", 1, &[0, 1], 0);
    for name in ["one", "two", "gap", "part"] {
        hash(name);
    }
    let export = |runs: &[&str], format: &str, more: &[&str]| {
        let arguments = [&["eval"], runs, &["--export", format, "--out", "out"], more].concat();
        told(&vigor(home.path(), &arguments))
    };
    let read = |name: &str| fs::read_to_string(home.path().join("out").join(name)).expect("a file");
    let dataset = ["--dataset", "humaneval:tasks.jsonl"];

    let (code, out, err) = export(&["one", "two"], "humaneval", &[]);
    assert_eq!((code, out.as_str()), (0, "out/vigor_n=2.jsonl\nout/vigor_n=3.jsonl\n"), "{err}");
    let lines: Vec<Value> =
        read("vigor_n=3.jsonl").lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0], json!({"task_id": "HumanEval/2", "completion": "\ndef f2():\n    return 11\n"}));
    assert_eq!(lines[1], json!({"task_id": "HumanEval/2", "completion": "\ndef f2():\n    return 21\n"}));

    let (code, _, err) = export(&["one", "two"], "evalplus", &dataset);
    assert_eq!(code, 0, "{err}");
    let line: Value =
        serde_json::from_str(read("vigor_n=2.jsonl").lines().next().expect("one")).expect("JSON");
    assert_eq!(
        line,
        json!({"task_id": "HumanEval/2", "solution": "import math\n\ndef f2():\n    return 10\n"})
    );

    let (code, _, err) = export(&["one", "two"], "bigcode", &dataset);
    assert_eq!(code, 0, "{err}");
    let all: Vec<Vec<String>> = serde_json::from_str(&read("vigor_n=2.json")).expect("lists");
    let program = |f: usize, returned: usize| format!("import math\n\ndef f{f}():\n    return {returned}\n");
    assert_eq!(all, [[program(1, 10), program(1, 20)], [program(2, 10), program(2, 20)]]);

    for (runs, format, more, words) in [
        (&["gap"][..], "bigcode", &dataset[..], "not neighbours in the dataset"),
        (&["part"], "bigcode", &dataset, "not finished"),
    ] {
        let (code, _, err) = export(runs, format, more);
        assert!(code == 3 && err.contains(words), "{runs:?}: {code} {err}");
    }
    fs::write(home.path().join("tasks.jsonl"), task(0).to_string() + "\n").expect("written");
    let (code, _, err) = export(&["one"], "evalplus", &dataset);
    assert!(code == 3 && err.contains("its hash differs"), "{code} {err}");
    let (code, _, err) = told(&vigor(home.path(), &["eval", "one", "--export", "humaneval"]));
    assert!(code == 2 && err.contains("--out"), "{err}");
}

#[test]
fn what_a_model_wrote_does_not_steer_the_terminal() {
    let home = tempfile::tempdir().expect("a folder");
    let hostile = "\u{1b}]0;title\u{7}\u{1b}[2J";
    for (name, number) in [("a", 1), ("b", 2)] {
        let run = Run { name, tasks: vec![hostile.to_owned()], ..Run::default() };
        write(&home.path().join(name), &run, |_, cell| {
            let mut session = Session::judged(true, true);
            let mut step = guided(0, &format!("x = {number}{cell} # {hostile}\n"), 5);
            step.decision.reason = hostile.to_owned();
            step.signal.as_mut().expect("a signal").text = hostile.to_owned();
            session.steps = vec![step];
            Some(session)
        });
    }
    for arguments in [
        &["compare", "a", "--task", hostile, "--cell", "greedy", "--cell", "eg-cfg γ=1"][..],
        &["compare", "a", "--markdown"],
        &["eval", "a"],
        &["diff", "a", "b"],
    ] {
        let (_, out, err) = told(&vigor(home.path(), arguments));
        assert!(!(out.clone() + &err).contains(['\u{1b}', '\u{7}']), "{arguments:?}: {out:?} {err:?}");
        assert!(!out.is_empty(), "{err}");
    }
}
