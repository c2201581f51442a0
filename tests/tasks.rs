//! Datasets from files: what is read, and what is refused with which words.

use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use vigor::task::{PromptKind, Task, TaskError, Test, load};

/// A file in a directory of its own, gone with it.
struct Dataset {
    path: PathBuf,
    _directory: tempfile::TempDir,
}

fn dataset(bytes: &[u8]) -> Dataset {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("tasks.jsonl");
    std::fs::write(&path, bytes).expect("the file is written");
    Dataset { path, _directory: directory }
}

fn tasks(adapter: &str, text: &str) -> Vec<Task> {
    load(adapter, &dataset(text.as_bytes()).path).expect("the dataset loads")
}

/// The line and the reason of a refusal.
fn refusal(adapter: &str, bytes: &[u8]) -> (usize, String) {
    match load(adapter, &dataset(bytes).path) {
        Err(TaskError::Record { line, reason, .. }) => (line, reason),
        other => panic!("expected a refused record, not {other:?}"),
    }
}

fn sources(tests: &[Test]) -> Vec<&str> {
    tests.iter().map(|test| test.source.as_str()).collect()
}

fn humaneval(docstring: &str) -> Task {
    let record = serde_json::json!({
        "task_id": "T/1",
        "prompt": format!("from typing import List\n\ndef area(w: List[int], h: int = (1)) -> int:\n    \"\"\"{docstring}\"\"\"\n"),
        "entry_point": "area",
        "canonical_solution": "    return w * h\n",
        "test": "\nMETADATA = {}\n\ndef check(candidate):\n    assert candidate(1, 2) == 2\n",
    });
    tasks("humaneval", &record.to_string()).remove(0)
}

#[test]
fn humaneval_guides_by_the_examples_in_the_docstring() {
    let cases: [(&str, &[&str]); 20] = [
        ("no example", &[]),
        (">>> area(1, 2)\n    2\n", &["assert area(1, 2) == 2"]),
        (">>> area([1,\n 2], 2)\n    2\n", &[]),
        (">>> area(1, 2)\n    [1,\n     2]\n", &["assert area(1, 2) == [1,\n     2]"]),
        (">>> area(1, 2)\n\n", &["assert area(1, 2) == None"]),
        (">>> area(1, 2) == 2\n", &["assert area(1, 2) == 2"]),
        (">>> round(area(1, 2), 1)  # about\n    2.0\n", &["assert round(area(1, 2), 1) == 2.0"]),
        (">>> other(1, 2)\n    2\n", &[]),
        (
            "area(1, 2) ➞ 2\narea('(', ')') => \"x\"\n",
            &["assert area(1, 2) == 2", "assert area('(', ')') == \"x\""],
        ),
        ("* area(1, 2) -> [2]\n", &["assert area(1, 2) == [2]"]),
        ("area(1, 2) ==>true", &["assert area(1, 2) == True"]),
        ("area(1, 2) should return -16.\n", &["assert area(1, 2) == -16"]),
        ("area(1, 2)   # returns 'a.b'\n", &["assert area(1, 2) == 'a.b'"]),
        ("area(1, 2) = 1 + (2 / 2) = 2\n", &["assert area(1, 2) == 2"]),
        ("area(1, 2) => 'No' (since it is no)\n", &["assert area(1, 2) == 'No'"]),
        ("area(n, 2) == area(n - 1, 2)\nsubarea(1) == 2\narea(1, 2) == 2 or so\n", &[]),
        ("For w = [1], h = 2 the output should be 3.\n", &["assert area([1], 2) == 3"]),
        ("Input: w = [1], h = 2\n    Output: (1, 2)\n", &["assert area([1], 2) == (1, 2)"]),
        ("Input:\n  w : [1]\n  h : 2\n  Output: 3 # why\n", &["assert area([1], 2) == 3"]),
        ("area(1, 2) == 2\n>>> area(1, 2)\n2\n", &["assert area(1, 2) == 2"]),
    ];
    for (docstring, expected) in cases {
        let task = humaneval(docstring);
        assert_eq!(sources(&task.guiding_tests), expected, "{docstring:?}");
        for test in &task.guiding_tests {
            assert!(test.call.as_deref().is_some_and(|call| call.contains("area(")), "{test:?}");
            assert!(test.expected.is_some(), "{test:?}");
        }
    }
}

#[test]
fn humaneval_holds_its_check_out_under_another_name() {
    let task = humaneval("");
    assert_eq!(task.prompt_kind, PromptKind::Code);
    assert_eq!(task.entry_point.as_deref(), Some("area"));
    assert!(task.reference_solution.is_some_and(|program| program.ends_with("\"\"\"\n    return w * h\n")));
    let [test] = task.held_out_tests.as_slice() else { panic!("one held-out test") };
    assert!(!test.source.contains("def check("), "{}", test.source);
    assert!(test.source.ends_with("\n\nvigor_held_out_check(area)\n"), "{}", test.source);
    assert_eq!((&test.call, &test.expected), (&None, &None));
}

#[test]
fn mbpp_guides_by_its_first_test() {
    let full = r#"{"task_id": 7, "text": "Write it.", "code": "def other():\r\n  pass\r\ndef find (x):\r\n  return x\r\n",
        "test_setup_code": "root = 1\r\n", "test_list": ["assert set(find(1)) == {1}, 'no'", "assert not find(2)", "assert (find(3)) == 3"],
        "challenge_test_list": ["assert find(4) == 4"]}"#
        .replace('\n', " ");
    let task = tasks("mbpp", &full).remove(0);
    assert_eq!((task.id.as_str(), task.prompt.as_str()), ("MBPP/7", "Write it."));
    assert_eq!(task.prompt_kind, PromptKind::Text);
    assert_eq!(task.entry_point.as_deref(), Some("find"));
    assert_eq!(task.setup, "root = 1\n");
    assert_eq!(sources(&task.guiding_tests), ["assert set(find(1)) == {1}, 'no'"]);
    assert_eq!(sources(&task.held_out_tests), ["assert not find(2)", "assert (find(3)) == 3"]);
    assert_eq!(task.guiding_tests[0].call.as_deref(), Some("set(find(1))"));
    assert_eq!(task.guiding_tests[0].expected.as_deref(), Some("{1}"));
    assert_eq!(task.held_out_tests[0].call, None);
    assert_eq!(task.held_out_tests[1].call.as_deref(), Some("find(3)"));
}

#[test]
fn mbpp_sanitized_is_an_array_with_imports() {
    let text = r#"[
      {"task_id": 8, "prompt": "P", "code": "def f(x):\n  return x", "test_imports": ["import math", "import os"],
       "test_list": ["assert math.isclose(f(1), 1)"]}
    ]"#;
    let task = tasks("mbpp", text).remove(0);
    assert_eq!(task.prompt, "P");
    assert_eq!(task.setup, "import math\nimport os\n");
    assert_eq!(task.entry_point.as_deref(), Some("f"));
    assert_eq!(task.held_out_tests, []);
}

#[test]
fn generic_tasks_say_how_they_are_split() {
    let text = r#"
{"task_id": "a", "prompt": "def f(x):\n", "entry_point": "f", "guiding_tests": ["assert f(1) == 2"], "held_out_tests": ["assert f(2) == 3"], "reference": "def f(x): return x + 1", "setup": "import math"}

{"task_id": 2, "prompt": "Say", "tests": ["assert f(1) == 2", "assert f(2) == 3", "assert f(3)"]}
{"task_id": 3, "prompt": "def f(x):\n", "prompt_kind": "text", "entry_point": "f", "tests": ["assert f(1) == 2"]}
"#;
    let tasks = tasks("jsonl", text);
    assert_eq!(tasks.iter().map(|task| task.id.as_str()).collect::<Vec<_>>(), ["a", "2", "3"]);
    let kinds: Vec<PromptKind> = tasks.iter().map(|task| task.prompt_kind).collect();
    assert_eq!(kinds, [PromptKind::Code, PromptKind::Text, PromptKind::Text]);
    let split: Vec<_> =
        tasks.iter().map(|task| (task.guiding_tests.len(), task.held_out_tests.len())).collect();
    assert_eq!(split, [(1, 1), (1, 2), (0, 1)]);
    assert_eq!(tasks[0].guiding_tests[0].call.as_deref(), Some("f(1)"));
    assert_eq!((tasks[0].setup.as_str(), tasks[1].setup.as_str()), ("import math", ""));
}

#[test]
fn packed_files_are_told_by_their_bytes() {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(br#"{"task_id": "a", "prompt": "p", "tests": ["pass"]}"#).expect("memory");
    let packed = packer.finish().expect("memory");
    assert_eq!(load("jsonl", &dataset(&packed).path).expect("it loads").len(), 1);
    let cut = dataset(&packed[..packed.len() / 2]);
    assert!(matches!(load("jsonl", &cut.path), Err(TaskError::Read { .. })));
}

#[test]
fn a_bad_record_refuses_the_file_and_names_its_line() {
    let good = r#"{"task_id": "a", "prompt": "p", "tests": ["pass"]}"#;
    let after_good = |line: &str| refusal("jsonl", format!("{good}\n\n{line}\n").as_bytes());
    for (line, words) in [
        ("{", "not JSON"),
        ("3", "JSON object"),
        (good, "`a` is on line 1 already"),
        (r#"{"prompt": "p", "tests": ["pass"]}"#, "`task_id` is missing"),
        (r#"{"task_id": "", "prompt": "p", "tests": ["pass"]}"#, "`task_id`"),
        (r#"{"task_id": 1, "prompt": 2, "tests": ["pass"]}"#, "`prompt` is a number"),
        (r#"{"task_id": 1, "prompt": "p"}"#, "no test"),
        (r#"{"task_id": 1, "prompt": "p", "tests": "pass"}"#, "`tests` is not a list of strings"),
        (r#"{"task_id": 1, "prompt": "p", "tests": ["pass"], "guiding_tests": ["pass"]}"#, "not both"),
        (r#"{"task_id": 1, "prompt": "p", "tests": ["pass"], "entry_point": "a b"}"#, "`a b`"),
        (r#"{"task_id": 1, "prompt": "p", "tests": ["pass"], "prompt_kind": "x"}"#, "`code` or `text`"),
    ] {
        let (at, reason) = after_good(line);
        assert_eq!(at, 3, "{line}");
        assert!(reason.contains(words), "{line}: {reason}");
    }
    let array = format!("[\n{good},\n\n  {{\"task_id\": 1}}\n]");
    assert_eq!(refusal("jsonl", array.as_bytes()).0, 4);
    assert_eq!(refusal("jsonl", format!("[{good},\n{good}\n,}}]").as_bytes()).0, 3);
    assert_eq!(refusal("jsonl", format!("[{good}\n{good}]").as_bytes()).0, 2);
    assert_eq!(refusal("jsonl", format!("[{good}\n").as_bytes()).0, 2);
    assert_eq!(refusal("jsonl", format!("[{good}]\nx").as_bytes()).0, 2);
    assert_eq!(refusal("jsonl", b"\n\xff\n"), (2, "the text is not UTF-8".to_owned()));
    let (_, reason) =
        refusal("humaneval", br#"{"task_id": "a", "prompt": "p", "entry_point": "f", "test": ""}"#);
    assert!(reason.contains("does not define the entry point `f`"), "{reason}");
    let (_, reason) = refusal("mbpp", br#"{"task_id": 1, "text": "p", "test_list": []}"#);
    assert!(reason.contains("`test_list`"), "{reason}");
}

#[test]
fn empty_missing_and_unknown_are_errors_with_a_remedy() {
    for text in ["", "\n \n", "[]"] {
        assert!(
            matches!(load("jsonl", &dataset(text.as_bytes()).path), Err(TaskError::Empty { .. })),
            "{text:?}"
        );
    }
    let missing = load("jsonl", "no/such/file".as_ref()).expect_err("there is no such file");
    assert!(missing.to_string().contains("no/such/file"), "{missing}");
    let unknown = load("apps", "no/such/file".as_ref()).expect_err("there is no such adapter");
    assert!(unknown.to_string().contains("humaneval, mbpp, jsonl"), "{unknown}");
}
