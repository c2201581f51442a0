//! `vigor eval` through the binary, on small datasets of our own in the official formats.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use vigor::score::SampleVerdict;

/// HumanEval's format. The prompt of the second task gives an import; its function has the name that the
/// benchmark's test has, too.
fn humaneval() -> String {
    let double = json!({
        "task_id": "HumanEval/0",
        "prompt": "def double(x: int) -> int:\n    \"\"\"Twice x.\n    >>> double(2)\n    4\n    \"\"\"\n",
        "entry_point": "double",
        "canonical_solution": "    return 2 * x\n",
        "test": "def check(candidate):\n    assert candidate(3) == 6\n    assert candidate(0) == 0\n",
    });
    let check = json!({
        "task_id": "HumanEval/1",
        "prompt": "from typing import List\n\ndef check(xs: List[int]) -> bool:\n    \"\"\"Whether xs is sorted.\"\"\"\n",
        "entry_point": "check",
        "canonical_solution": "    return xs == sorted(xs)\n",
        "test": "def check(candidate):\n    assert candidate([1, 2])\n    assert not candidate([2, 1])\n",
    });
    format!("{double}\n{check}\n")
}

/// MBPP's format; the first task has set-up code that needs the program, and the second MBPP+'s script.
fn mbpp() -> String {
    let area = json!({
        "task_id": 11,
        "text": "Write a class Square with a side, and a function area of one.",
        "code": "class Square:\n    def __init__(self, side):\n        self.side = side\ndef area(s):\n    return s.side ** 2\n",
        "test_setup_code": "unit = Square(1)\n",
        "test_imports": ["import math"],
        "test_list": ["assert area(unit) == 1", "assert area(Square(math.pi // 1)) == 9", "assert area(Square(4)) == 16"],
    });
    let next = json!({
        "task_id": 12,
        "prompt": "Write a function that returns the next number.",
        "code": "def following(n):\n    return n + 1\n",
        "test_list": ["assert following(1) == 2", "assert following(2) == 3"],
        "test": "for n in range(100):\n    assert following(n) == n + 1\n",
    });
    format!("{area}\n{next}\n")
}

struct Folder {
    home: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let folder = Self { home: tempfile::tempdir().expect("a folder") };
        folder.write("humaneval.jsonl", humaneval().as_bytes());
        folder.write("mbpp.jsonl", mbpp().as_bytes());
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("it is written");
        path
    }

    /// Runs `vigor eval` on the dataset of that adapter, with `input` on standard input.
    fn eval(&self, adapter: &str, samples: &str, arguments: &[&str], input: &[u8]) -> Told {
        let dataset = format!("{adapter}:{}", self.path(&format!("{adapter}.jsonl")).display());
        eval(self.home.path(), &dataset, samples, arguments, input)
    }

    /// The verdicts on samples, one a line.
    fn verdicts(&self, adapter: &str, samples: &[Value], arguments: &[&str]) -> Vec<SampleVerdict> {
        let arguments = [&["--json"], arguments].concat();
        let told = self.eval(adapter, "-", &arguments, lines(samples).as_bytes());
        assert_eq!(told.code, 0, "{}", told.err);
        told.out.lines().map(|line| serde_json::from_str(line).expect("a verdict")).collect()
    }
}

struct Told {
    code: i32,
    out: String,
    err: String,
}

fn eval(folder: &Path, dataset: &str, samples: &str, arguments: &[&str], input: &[u8]) -> Told {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vigor"));
    command.args(["eval", "--dataset", dataset, "--samples", samples, "--allow-weaker-sandbox", "--offline"]);
    if let Ok(python) = std::env::var("VIGOR_TEST_PYTHON")
        && !arguments.contains(&"--python")
    {
        command.args(["--python", &python]);
    }
    command.args(arguments).current_dir(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("vigor starts");
    // It may refuse its arguments and not read.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    let output = child.wait_with_output().expect("it ends");
    Told {
        code: output.status.code().expect("an exit code"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

fn lines(samples: &[Value]) -> String {
    samples.iter().map(|sample| format!("{sample}\n")).collect()
}

fn kinds(verdicts: &[SampleVerdict]) -> Vec<&str> {
    verdicts.iter().map(|verdict| verdict.verdict.as_str()).collect()
}

#[test]
fn a_completion_follows_the_prompt_and_a_solution_is_a_whole_program() {
    let folder = Folder::new();
    let verdicts = folder.verdicts(
        "humaneval",
        &[
            json!({"task_id": "HumanEval/0", "completion": "    return x + x\n"}),
            json!({"task_id": "HumanEval/0", "solution": "def double(x):\n    return x + x\n"}),
            json!({"task_id": "HumanEval/0", "solution": "    return x + x\n"}),
            json!({"task_id": "HumanEval/0", "completion": "\ndef double(x):\n    return x + x\n"}),
            // With and without the import that the prompt gives.
            json!({"task_id": "HumanEval/1", "solution": "def check(xs: List[int]):\n    return xs[0] < xs[1]\n"}),
            json!({"task_id": "HumanEval/1", "completion": "    return xs[0] < xs[1]\n"}),
            json!({"task_id": "HumanEval/1", "completion": "    return True\n"}),
        ],
        &[],
    );
    let expected = ["passed", "passed", "syntax_error", "passed", "passed", "passed", "failed"];
    assert_eq!(kinds(&verdicts), expected);
    let verdicts = folder.verdicts(
        "mbpp",
        &[
            json!({"task_id": 12, "completion": "def following(n):\n    return n + 1\n"}),
            json!({"task_id": 12, "solution": "def following(n):\n    return n + 1\n"}),
        ],
        &[],
    );
    assert_eq!(kinds(&verdicts), ["passed", "passed"]);
}

#[test]
fn tasks_are_found_by_their_official_names() {
    let folder = Folder::new();
    let program = "def following(n):\n    return n + 1\n";
    let named = |id: Value| json!({"task_id": id, "solution": program, "other": [1]});
    let ids = [json!(12), json!("12"), json!("MBPP/12"), json!("Mbpp/12")];
    let verdicts = folder.verdicts("mbpp", &ids.map(named), &[]);
    assert_eq!(kinds(&verdicts), ["passed"; 4]);
    assert!(verdicts.iter().all(|verdict| verdict.task_id == "MBPP/12"), "{verdicts:?}");
}

#[test]
fn only_a_program_that_runs_through_its_tests_passes() {
    let folder = Folder::new();
    let programs = [
        ("import sys\nsys.exit(0)\n", "exception"),
        ("def double(x):\n    raise SystemExit(0)\n", "exception"),
        ("import os\nos._exit(0)\n", "forbidden"),
        ("import atexit, os\natexit.register(os._exit, 0)\ndef double(x):\n    return 0\n", "failed"),
        ("import os\nos.write(3, b'passed' * 99)\nos.write(1, b'passed')\nos._exit(0)\n", "forbidden"),
        ("print('passed')\ndef check(candidate):\n    pass\ndef double(x):\n    return 7\n", "failed"),
        ("vigor_held_out_check = print\ndef double(x):\n    return 7\n", "failed"),
        ("def double(x):\n    while True: pass\n", "timeout"),
        ("def double(x):\n    return bytearray(1 << 40)\n", "memory"),
        ("def double(x):\n    return 2 * x if x else 1\n", "failed"),
        ("def double(x):\n", "syntax_error"),
        ("", "exception"),
    ];
    let samples = programs.map(|(program, _)| json!({"task_id": "HumanEval/0", "solution": program}));
    let verdicts = folder.verdicts("humaneval", &samples, &["--time", "0.5", "--memory", "128"]);
    assert_eq!(kinds(&verdicts), programs.map(|(_, kind)| kind), "{verdicts:#?}");
    assert!(verdicts.iter().all(|verdict| !verdict.passed));
}

#[test]
fn each_set_of_tests_can_decide() {
    let folder = Folder::new();
    // Right in the first test, which guides, and wrong in one of the others.
    let samples = [
        json!({"task_id": 11, "solution": "class Square:\n    def __init__(self, side):\n        self.side = side\ndef area(s):\n    return s.side ** 2 if s.side != 3 else 0\n"}),
        json!({"task_id": 12, "solution": "def following(n):\n    return n + 1 if n != 2 else 0\n"}),
    ];
    for (set, expected, tests) in [
        ("guiding", ["passed", "passed"], [1, 1]),
        ("held-out", ["failed", "failed"], [2, 2]),
        ("both", ["failed", "failed"], [3, 3]),
    ] {
        let verdicts = folder.verdicts("mbpp", &samples, &["--tests", set]);
        assert_eq!(kinds(&verdicts), expected, "{set}");
        assert_eq!([verdicts[0].tests.len(), verdicts[1].tests.len()], tests, "{set}");
    }
    let both = folder.verdicts("mbpp", &samples, &["--tests", "both"]);
    let of_tests: Vec<&str> = both[0].tests.iter().map(|test| test.kind.as_str()).collect();
    assert_eq!(of_tests, ["passed", "failed", "passed"]);
    assert_eq!(both[1].message, "got 0, expected 3");
    // The second task of the other dataset has no example in its prompt.
    let sample = json!({"task_id": "HumanEval/1", "completion": "    return xs[0] < xs[1]\n"});
    let told = folder.eval("humaneval", "-", &["--json", "--tests", "guiding"], lines(&[sample]).as_bytes());
    assert!(told.out.contains(r#""passed":false,"verdict":"no_tests""#), "{}", told.out);
    assert!(told.err.contains("1 samples belong to tasks without tests of that set"), "{}", told.err);
}

#[test]
fn verdicts_are_in_the_order_of_the_samples_and_the_same_bytes_each_time() {
    let folder = Folder::new();
    let samples: Vec<Value> = (0..40)
        .map(|n| {
            // Every fifth is slow, so that those behind it finish first.
            let wait = if n % 5 == 0 { "import time\ntime.sleep(0.1)\n" } else { "" };
            json!({"task_id": 12, "solution": format!("{wait}def following(_):\n    return {n}\n")})
        })
        .collect();
    let samples = folder.write("samples.jsonl", lines(&samples).as_bytes());
    let samples = samples.to_str().expect("UTF-8");
    let guiding = ["--json", "--tests", "guiding", "--workers"];
    let one = folder.eval("mbpp", samples, &[&guiding[..], &["1"]].concat(), b"");
    let two = folder.eval("mbpp", samples, &[&guiding[..], &["2", "--out", "verdicts.jsonl"]].concat(), b"");
    assert_eq!((one.code, two.code), (0, 0), "{}{}", one.err, two.err);
    assert_eq!(one.out, two.out);
    assert_eq!(fs::read_to_string(folder.path("verdicts.jsonl")).expect("it is there"), one.out);
    let verdicts: Vec<SampleVerdict> =
        one.out.lines().map(|line| serde_json::from_str(line).expect("a verdict")).collect();
    assert_eq!(verdicts.len(), 40);
    for (at, verdict) in verdicts.iter().enumerate() {
        let message = if at == 2 { String::new() } else { format!("got {at}, expected 2") };
        assert_eq!((verdict.sample, &verdict.message), (at, &message));
    }
    let first: Value = serde_json::from_str(one.out.lines().next().expect("a line")).expect("JSON");
    let fields: Vec<&String> = first.as_object().expect("an object").keys().collect();
    assert_eq!(fields, ["task_id", "sample", "passed", "verdict", "message", "tests"]);
}

#[test]
fn the_summary_leaves_nothing_out() {
    let folder = Folder::new();
    let good = json!({"task_id": 12, "solution": "def following(n):\n    return n + 1\n"});
    let bad = json!({"task_id": 12, "solution": "import numpy\n"});
    let told = folder.eval("mbpp", "-", &[], format!("{good}\n\n{bad}\n{good}\n{good}\n").as_bytes());
    assert_eq!(told.code, 0, "{}", told.err);
    for words in [
        "line 3      MBPP/12          exception     ModuleNotFoundError: No module named 'numpy' (line 1)",
        "passed                 3 samples   75.0 %",
        "exception              1 samples   25.0 %",
        "all passed             0 of 1 tasks with samples",
        "pass@1            0.7500 over 1 of 2 tasks",
        "1 tasks have no sample; pass@1 is 0.3750 if they count as not passed: MBPP/11",
        "1 samples did not pass because Python has no module numpy",
    ] {
        assert!(told.out.contains(words), "{words}\n{}", told.out);
    }
    // The same samples of both tasks: a task counts as much as another, however many samples it has.
    let all = [good.clone(), bad.clone(), bad.clone(), bad, json!({"task_id": 11, "solution": ""})];
    let told = folder.eval("mbpp", "-", &[], lines(&all).as_bytes());
    assert!(told.out.contains("pass@1            0.1250 over 2 of 2 tasks"), "{}", told.out);
    assert!(!told.out.contains("no sample"), "{}", told.out);
}

#[test]
fn failing_samples_are_listed_up_to_a_number() {
    let folder = Folder::new();
    let samples = vec![json!({"task_id": 12, "solution": ""}); 25];
    let input = lines(&samples);
    let told = folder.eval("mbpp", "-", &[], input.as_bytes());
    assert!(told.out.contains("line 20 ") && !told.out.contains("line 21 "), "{}", told.out);
    assert!(told.out.contains("… 5 more, listed with --all"), "{}", told.out);
    let told = folder.eval("mbpp", "-", &["--all"], input.as_bytes());
    assert!(told.out.contains("line 25 ") && !told.out.contains("--all"), "{}", told.out);
}

#[test]
fn a_broken_line_is_refused_before_anything_runs() {
    let folder = Folder::new();
    let good = json!({"task_id": "HumanEval/0", "completion": "    return 2 * x\n"}).to_string();
    for (line, words) in [
        ("{\"task_id\": ", "not JSON"),
        ("[]", "a record is a JSON object, this is a list"),
        (r#"{"completion": ""}"#, "the field `task_id` is missing"),
        (r#"{"task_id": 1.5, "completion": ""}"#, "the field `task_id` is neither a name nor a whole number"),
        (r#"{"task_id": "HumanEval/0"}"#, "neither `completion` (what follows the prompt) nor `solution`"),
        (
            r#"{"task_id": "HumanEval/0", "completion": 1}"#,
            "the field `completion` is a number, not a string",
        ),
        (
            r#"{"task_id": "HumanEval/0", "completion": "", "solution": ""}"#,
            "both `completion` and `solution`",
        ),
        (r#"{"task_id": "HumanEval/2", "completion": ""}"#, "the dataset has no task `HumanEval/2`"),
        (r#"{"task_id": "\u001b[2J", "completion": ""}"#, r"the dataset has no task `\u{1b}[2J`"),
    ] {
        let input = format!("{good}\n\n{line}\n{good}\n");
        let told = folder.eval("humaneval", "-", &["--json", "--out", "verdicts.jsonl"], input.as_bytes());
        assert!(told.code == 3 && told.out.is_empty(), "{line}: {} {}", told.code, told.out);
        assert!(
            told.err.contains("standard input, line 3: ") && told.err.contains(words),
            "{line}: {}",
            told.err
        );
        assert!(told.err.contains("correct the line or remove it"), "{}", told.err);
        assert!(!folder.path("verdicts.jsonl").exists());
    }
    let told = folder.eval("humaneval", "-", &[], b"\n");
    assert!(told.code == 3 && told.err.contains("holds no sample"), "{}", told.err);
    let told = folder.eval("humaneval", "nowhere.jsonl", &[], b"");
    assert!(told.code == 3 && told.err.contains("nowhere.jsonl"), "{}", told.err);
}

#[test]
fn packed_samples_are_read_too() {
    let folder = Folder::new();
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    let sample = json!({"task_id": "HumanEval/0", "completion": "    return 2 * x\n"});
    packer.write_all(lines(&[sample]).as_bytes()).expect("memory");
    folder.write("samples.jsonl.gz", &packer.finish().expect("memory"));
    let told = folder.eval("humaneval", "samples.jsonl.gz", &["--json"], b"");
    assert!(told.code == 0 && told.out.contains(r#""passed":true"#), "{}{}", told.out, told.err);
}

#[test]
fn the_reference_solutions_can_be_scored() {
    let folder = Folder::new();
    for adapter in ["humaneval", "mbpp"] {
        let told = folder.eval(adapter, "reference", &["--tests", "both"], b"");
        assert_eq!(told.code, 0, "{}", told.err);
        assert!(told.out.contains("pass@1            1.0000 over 2 of 2 tasks"), "{}", told.out);
    }
    folder.write("jsonl.jsonl", br#"{"task_id": 1, "prompt": "p", "tests": ["pass"]}"#);
    let told = folder.eval("jsonl", "reference", &[], b"");
    assert!(told.code == 3 && told.err.contains("no task of this dataset has a reference"), "{}", told.err);
}

#[test]
fn datasets_and_outputs_that_cannot_be_used_are_named() {
    let folder = Folder::new();
    let told = eval(folder.home.path(), "./mbpp.jsonl", "reference", &[], b"");
    assert!(
        told.code == 3 && told.err.contains("as ADAPTER:./mbpp.jsonl; adapters are humaneval, "),
        "{}",
        told.err
    );
    let told = eval(folder.home.path(), "mbpp:./absent.jsonl", "reference", &[], b"");
    assert!(told.code == 4 && told.err.contains("absent.jsonl"), "{} {}", told.code, told.err);
    fs::create_dir(folder.path("folder")).expect("a folder");
    let _socket = UnixListener::bind(folder.path("socket")).expect("a socket");
    for out in ["folder", "nowhere/verdicts.jsonl", "socket"] {
        let told = folder.eval("mbpp", "reference", &["--out", out], b"");
        assert!(told.code == 6 && told.err.contains(out), "{out}: {} {}", told.code, told.err);
    }
    let told = folder.eval("mbpp", "reference", &["--python", "/nonexistent/python3"], b"");
    assert_eq!(told.code, 5, "{}", told.err);
    let told = folder.eval("mbpp", "reference", &["--time", "0"], b"");
    assert_eq!(told.code, 2, "{}", told.err);
}

#[test]
fn an_interrupted_scoring_leaves_no_file() {
    let folder = Folder::new();
    let sample = json!({"task_id": 12, "solution": "import time\ntime.sleep(0.2)\n"});
    folder.write("samples.jsonl", lines(&vec![sample; 500]).as_bytes());
    let dataset = format!("mbpp:{}", folder.path("mbpp.jsonl").display());
    let mut child = Command::new(env!("CARGO_BIN_EXE_vigor"))
        .args(["eval", "--dataset", &dataset, "--samples", "samples.jsonl", "--allow-weaker-sandbox"])
        .args(["--out", "verdicts.jsonl", "--workers", "2"])
        .current_dir(folder.home.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("vigor starts");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(child.try_wait().expect("it can be asked").is_none(), "it has ended");
    // SAFETY: the process is our child and not yet waited for, so the number is its own.
    assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) }, 0);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains(" of 500 samples; nothing was written") && !said.contains("error:"), "{said}");
    let left: Vec<String> = fs::read_dir(folder.home.path())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("verdicts"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Tasks that read and print, and tasks of classes of `unittest`.
#[test]
fn scripts_and_unit_tests_are_scored_too() {
    let folder = Folder::new();
    let square = json!({
        "task_id": "square",
        "prompt": "Print the square of the number.",
        "tests": [{"input": "2\n", "output": "4\n"}, {"input": "-3\n", "output": "9\n"}],
        "reference": "n = int(input())\nprint(n * n)\n",
    });
    folder.write("jsonl.jsonl", lines(&[square]).as_bytes());
    let sample = |program: &str| json!({"task_id": "square", "solution": program});
    let samples = [
        sample("import sys\nn = int(sys.stdin.readline())\nsys.stdout.write(str(n * n))\nsys.exit()\n"),
        sample(
            "def solve():\n    print(abs(int(input())) ** 2, '')\nif __name__ == '__main__':\n    solve()\n",
        ),
        sample("print(4)\n"),
        sample("def solve(n):\n    return n * n\n"),
        sample("import os\nprint(9, flush=True)\nos._exit(0)\n"),
    ];
    let verdicts = folder.verdicts("jsonl", &samples, &["--tests", "both"]);
    let kinds: Vec<&str> = verdicts.iter().map(|verdict| verdict.verdict.as_str()).collect();
    assert_eq!(kinds, ["passed", "passed", "failed", "failed", "forbidden"]);
    assert_eq!(verdicts[2].message, "printed line 1: got \"4\", expected \"9\"");

    let class = json!({
        "task_id": "Big/1",
        "complete_prompt": "import os\n\ndef task_func(n):\n    \"\"\"Add one.\"\"\"\n",
        "entry_point": "task_func",
        "canonical_solution": "    return n + 1\n",
        "test": "import unittest\nfrom unittest.mock import patch\nclass TestCases(unittest.TestCase):\n    @classmethod\n    def setUpClass(cls):\n        cls.one = 1\n    def test_one(self):\n        self.assertEqual(task_func(self.one), 2)\n    def test_two(self):\n        with patch('os.getcwd', return_value='x'), self.subTest('sub'):\n            self.assertEqual(task_func(len(os.getcwd())), 2)\n",
    });
    folder.write("bigcodebench.jsonl", lines(&[class]).as_bytes());
    let sample = |body: &str| json!({"task_id": "Big/1", "completion": body});
    let samples = [
        sample("    return n + 1\n"),
        sample("    return n + len(os.getcwd())\n"),
        sample("    return n + 2\n"),
        sample("    import no_such_module\n"),
        sample("    raise SystemExit(0)\n"),
        sample("    return 2\nclass TestCases:\n    pass\n"),
    ];
    let verdicts = folder.verdicts("bigcodebench", &samples, &[]);
    let told: Vec<(&str, &str)> =
        verdicts.iter().map(|verdict| (verdict.verdict.as_str(), verdict.message.as_str())).collect();
    assert_eq!(told[0], ("passed", ""));
    assert_eq!(told[1], ("passed", ""));
    assert_eq!(told[2], ("failed", "test_one: 3 != 2"));
    assert_eq!(told[3], ("exception", "ModuleNotFoundError: No module named 'no_such_module' (line 5)"));
    assert_eq!(told[4].0, "exception");
    assert_eq!(told[5], ("passed", ""), "the test's own class is the one that runs");
}

/// DS-1000's format: tests put the text of a snippet into programs of their own.
fn ds1000() -> String {
    let context = |before: &str, test: &str| {
        format!(
            "import copy\n\nexec_context = r\"\"\"\n{before}\n[insert]\n\"\"\"\n\ndef test_execution(solution: str):\n    \
             code = exec_context.replace(\"[insert]\", solution)\n    for x in (2, -3):\n        \
             env = {{\"x\": copy.deepcopy([x])}}\n        exec(code, env)\n        {test}\n"
        )
    };
    let top = json!({
        "prompt": "Double x.\nA:\n<code>\nx = [2]\n</code>\ny = ... # put it here\nBEGIN SOLUTION\n<code>\n",
        "reference_code": "y = [2 * n for n in x]\n",
        "metadata": {"problem_id": 0},
        "code_context": context("", "assert env[\"y\"] == [2 * x]")
            + "\ndef test_string(solution: str):\n    assert \"while\" not in solution\n",
    });
    let in_function = json!({
        "prompt": "Double x.\nA:\n<code>\ndef f(x=[2]):\n    ### BEGIN SOLUTION",
        "reference_code": "# def f(x):\n    ### BEGIN SOLUTION\n    y = 2 * x[0]\n    return y\n",
        "metadata": {"problem_id": 1},
        "code_context": context("def f(x):", "assert env[\"f\"]([x]) == 2 * x"),
    });
    lines(&[top, in_function])
}

#[test]
fn snippets_are_scored_from_their_text() {
    let folder = Folder::new();
    folder.write("ds1000.jsonl", ds1000().as_bytes());
    let told = folder.eval("ds1000", "reference", &[], b"");
    assert!(told.code == 0 && told.out.contains("1.0000 over"), "{}{}", told.out, told.err);
    let sample = |task: &str, field: &str, text: &str| json!({"task_id": task, field: text});
    let samples = [
        sample("DS-1000/0", "completion", "y = [n + n for n in x]"),
        sample("ds-1000/0", "solution", "y = [n + n for n in x]"),
        sample("0", "completion", "y = []\nwhile not y:\n    y = [2 * x[0]]\n"),
        sample("0", "completion", "y = x * 2"),
        sample("0", "completion", "y = ["),
        sample("0", "completion", "import no_such_module\n"),
        sample("0", "completion", "raise SystemExit(0)"),
        sample("0", "completion", "def test_execution(solution):\n    pass\n"),
        sample("1", "completion", "    return x[0] * 2\n"),
        sample("1", "solution", "def f(x=[2]):\n    return x[0] * 2\n"),
        sample("1", "completion", "def f(x=[2]):\n    return x[0] * 2\n"),
        sample("1", "completion", "    return x * 2\n"),
    ];
    let verdicts = folder.verdicts("ds1000", &samples, &[]);
    let kinds: Vec<&str> = verdicts.iter().map(|verdict| verdict.verdict.as_str()).collect();
    let expected = [
        "passed",
        "passed",
        "failed",
        "failed",
        "exception",
        "exception",
        "exception",
        "exception",
        "passed",
        "passed",
        "exception",
        "failed",
    ];
    assert_eq!(kinds, expected, "{verdicts:?}");
    assert!(verdicts[5].message.starts_with("ModuleNotFoundError: No module named 'no_such_module'"));
    assert_eq!(folder.verdicts("ds1000", &samples[..1], &["--tests", "guiding"])[0].verdict, "no_tests");
}

/// EvalPlus' format of MBPP+: one task whose values are matches, one in which the order does not count, one of two
/// readings, one with an infinity.
#[test]
fn mbpp_plus_is_compared_as_evalplus_does_it() {
    let folder = Folder::new();
    let task = |number: u32, entry_point: &str, solution: &str, inputs: Value| {
        json!({
            "task_id": format!("Mbpp/{number}"),
            "prompt": format!("\"\"\"\nDo it.\nassert {entry_point}() == 1\n\"\"\"\n"),
            "entry_point": entry_point,
            "canonical_solution": solution,
            "base_input": inputs,
            "plus_input": {},
            "atol": 0,
        })
    };
    let match_of = "import re\ndef check_str(text):\n    return re.search('^a', text)\n";
    let distance = "def digit_distance_nums(a, b):\n    return sum(abs(int(x) - int(y)) for x, y in zip(str(a), str(b)))\n";
    let records = lines(&[
        task(737, "check_str", match_of, json!([["ab"], ["ba"]])),
        task(769, "Diff", "def Diff(a, b):\n    return list(set(a) ^ set(b))\n", json!([[[1, 2], [2, 3]]])),
        task(558, "digit_distance_nums", distance, json!([[1, 23], [12, 34]])),
        task(404, "minimum", "def minimum(a, b):\n    return min(a, b)\n", json!([[1, 2.5], ["inf", 3]])),
        task(579, "tuples", "def tuples(a):\n    return a + (1.5,)\n", json!([[[1]]])),
    ]);
    folder.write("mbppplus.jsonl", records.replace("\"inf\"", "-Infinity").as_bytes());
    let told = folder.eval("mbppplus", "reference", &[], b"");
    assert!(told.code == 0 && told.out.contains("1.0000 over"), "{}{}", told.out, told.err);
    let sample = |task: u32, program: &str| json!({"task_id": format!("Mbpp/{task}"), "solution": program});
    let samples = [
        sample(737, "def check_str(text):\n    return text.startswith('a')"),
        sample(737, "def check_str(text):\n    return '' if text.startswith('a') else None"),
        sample(737, "def check_str(text):\n    return text"),
        sample(737, "def check_str(text):\n    return object() if text == 'ab' else None"),
        sample(769, "def Diff(a, b):\n    return [3, 1, 1]"),
        sample(769, "def Diff(a, b):\n    return [3]"),
        sample(558, "def digit_distance_nums(a, b):\n    return 4"),
        sample(558, "def digit_distance_nums(a, b):\n    return 4 if a == 12 else 1"),
        sample(404, "def minimum(a, b):\n    return a"),
        sample(404, "def minimum(a, b):\n    return 1"),
        sample(579, "def tuples(a):\n    return (*a, 1.5)"),
        sample(579, "def tuples(a):\n    return [*a, 1.5]"),
    ];
    let passed: Vec<bool> =
        folder.verdicts("mbppplus", &samples, &[]).iter().map(|verdict| verdict.passed).collect();
    assert_eq!(passed, [true, true, false, true, true, false, true, true, true, false, true, false]);
}

#[test]
fn a_part_of_mbpp_can_be_scored() {
    let folder = Folder::new();
    let told = folder.eval("mbpp", "reference", &["--split", "test"], b"");
    assert_eq!(told.code, 0, "{}", told.err);
    for (split, words) in [("train", "no task from 601 to 974"), ("x", "there is no split `x`")] {
        let told = folder.eval("mbpp", "reference", &["--split", split], b"");
        assert!(told.code == 3 && told.err.contains(words), "{}", told.err);
    }
    let told = folder.eval("humaneval", "reference", &["--split", "test"], b"");
    assert!(told.code == 3 && told.err.contains("only MBPP is cut so"), "{}", told.err);
}
