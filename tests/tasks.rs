//! Datasets from files: what is read, and what is refused with which words.

use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use vigor::sandbox::{Comparison, ScriptTest};
use vigor::task::{PromptKind, Task, TaskError, Test, load, split};

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
        (r#"{"task_id": 1, "prompt": "p", "tests": "pass"}"#, "`tests` is a string, not a list"),
        (r#"{"task_id": 1, "prompt": "p", "tests": [1]}"#, "`tests` is not a list of strings"),
        (r#"{"task_id": 1, "prompt": "p", "tests": [{"input": "1"}]}"#, "`tests` is not a list of strings"),
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
    let unknown = load("nosuch", "no/such/file".as_ref()).expect_err("there is no such adapter");
    assert!(unknown.to_string().contains("use one of humaneval, "), "{unknown}");
}

/// The scripts among tests, as what they read and should print.
fn scripts(tests: &[Test]) -> Vec<(&str, &str, Comparison)> {
    fn parts(script: &ScriptTest) -> (&str, &str, Comparison) {
        (&script.stdin, &script.stdout, script.comparison)
    }
    tests.iter().map(|test| parts(test.script.as_ref().expect("a script"))).collect()
}

fn counts(task: &Task) -> (usize, usize) {
    (task.guiding_tests.len(), task.held_out_tests.len())
}

#[test]
fn generic_tasks_may_read_and_print() {
    let text = r#"{"task_id": "s", "prompt": "Double.", "tests": [{"input": "1\n", "output": "2\n"}, {"input": "2", "output": "4"}, "assert f(1)"]}"#;
    let task = tasks("jsonl", text).remove(0);
    assert_eq!(counts(&task), (1, 2));
    assert_eq!(scripts(&task.guiding_tests), [("1\n", "2\n", Comparison::Text)]);
    assert_eq!(task.guiding_tests[0].source, "Input:\n1\nOutput:\n2\n");
    let invocation = task.guiding_tests[0].invocation();
    assert!(invocation.ends_with(":\n1") && !invocation.contains('2'), "{invocation}");
    assert!(task.held_out_tests[1].script.is_none());
}

#[test]
fn a_long_input_is_shown_cut() {
    let record = serde_json::json!({
        "task_id": "s", "prompt": "p", "tests": [{"input": "é".repeat(100_000), "output": "x".repeat(100_000)}],
    });
    let test = tasks("jsonl", &record.to_string()).remove(0).held_out_tests.remove(0);
    assert!(test.source.len() < 10_000 && test.invocation().len() < 5000);
    assert_eq!(test.script.expect("a script").stdin.len(), 200_000);
}

#[test]
fn humaneval_et_holds_its_list_of_assertions_out() {
    let mut record = serde_json::json!({
        "task_id": "E/1",
        "prompt": "def twice(x):\n    \"\"\"\n    >>> twice(2)\n    4\n    \"\"\"\n",
        "entry_point": "twice",
        "canonical_solution": "    return 2 * x\n",
        "test": "def check(candidate):\n    assert candidate(1) == 2\n",
        "test_case_list": ["assert twice(3) == 6", "assert twice(4) == 8"],
    });
    let task = tasks("humaneval-et", &record.to_string()).remove(0);
    assert_eq!(sources(&task.guiding_tests), ["assert twice(2) == 4"]);
    assert_eq!(sources(&task.held_out_tests), ["assert twice(3) == 6", "assert twice(4) == 8"]);
    assert_eq!(task.held_out_tests[0].call.as_deref(), Some("twice(3)"));
    record["test_case_list"] = serde_json::json!([]);
    assert!(
        refusal("humaneval-et", record.to_string().as_bytes())
            .1
            .contains("`test_case_list` is missing or empty")
    );
}

fn apps(input_output: serde_json::Value, starter: &str) -> serde_json::Value {
    serde_json::json!({
        "problem_id": 12,
        "question": "Add.\n",
        "solutions": r#"["print(sum(map(int, input().split())))", "x"]"#,
        "input_output": input_output.to_string(),
        "difficulty": "introductory",
        "starter_code": starter,
    })
}

#[test]
fn apps_tests_are_scripts_or_calls() {
    let record =
        apps(serde_json::json!({"inputs": ["1 2\n", ["3", "4"], ""], "outputs": ["3\n", ["7"], ""]}), "");
    let task = tasks("apps", &record.to_string()).remove(0);
    assert_eq!((task.id.as_str(), task.prompt_kind, counts(&task)), ("APPS/12", PromptKind::Text, (1, 2)));
    assert!(task.prompt.starts_with("Add.\n\nThe program reads from standard input"), "{}", task.prompt);
    assert_eq!(scripts(&task.guiding_tests), [("1 2\n", "3\n", Comparison::Close)]);
    assert_eq!(
        scripts(&task.held_out_tests),
        [("3\n4", "7", Comparison::Close), ("", "", Comparison::Close)]
    );
    assert_eq!(task.reference_solution.as_deref(), Some("print(sum(map(int, input().split())))"));
    assert!(task.imports.contains("from typing import *"));

    let calls = serde_json::json!({
        "fn_name": "add",
        "inputs": [[1, [2, "a"]], [{"1": null}, true], [7, 8], [9, 9]],
        "outputs": [3, [{"1": 2}], [1, 2], [true]],
    });
    let task = tasks("apps", &apps(calls.clone(), "def add(a, b):\n\t").to_string()).remove(0);
    assert_eq!(task.entry_point.as_deref(), Some("add"));
    assert!(task.prompt.contains("```python\ndef add(a, b):\n```"), "{}", task.prompt);
    let asserts: Vec<&str> = [&task.guiding_tests, &task.held_out_tests]
        .into_iter()
        .flatten()
        .map(|test| test.source.lines().last().expect("a line"))
        .collect();
    assert_eq!(
        asserts,
        [
            "assert add(1, [2, \"a\"]) == 3",
            "assert vigor_lists(add({1: None}, True)) in ([{\"1\": 2}], {1: 2},)",
            "assert vigor_lists(add(7, 8)) in ([1, 2],)",
            "assert vigor_lists(add(9, 9)) in ([True], True,)",
        ]
    );
    assert_eq!(task.guiding_tests[0].call.as_deref(), Some("add(1, [2, \"a\"])"));
    let task =
        tasks("apps", &apps(calls, "class Solution:\n    def add(self, a, b):\n").to_string()).remove(0);
    assert_eq!(task.guiding_tests[0].call.as_deref(), Some("Solution().add(1, [2, \"a\"])"));
    assert_eq!(task.entry_point.as_deref(), Some("Solution"), "what stands at the top level");

    // Numbers that no machine word holds stay what they are.
    let mut large = apps(serde_json::json!({}), "");
    large["input_output"] =
        r#"{"fn_name": "f", "inputs": [[123456789012345678901]], "outputs": [0.10]}"#.into();
    let task = tasks("apps", &large.to_string()).remove(0);
    assert_eq!(sources(&task.held_out_tests), ["assert f(123456789012345678901) == 0.10"]);
    // Some of the published tasks have no test.
    large["input_output"] = "".into();
    assert_eq!(counts(&tasks("apps", &large.to_string())[0]), (0, 0));
}

#[test]
fn apps_folders_are_tasks() {
    let root = tempfile::tempdir().expect("a folder");
    let write = |folder: &str, file: &str, text: &str| {
        let folder = root.path().join(folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(file), text).expect("it is written");
    };
    write("0007", "question.txt", "Q");
    write("0007", "input_output.json", r#"{"inputs": ["1", "2"], "outputs": ["1", "2"]}"#);
    write("0007", "metadata.json", "not read");
    write("0003", "question.txt", "R");
    write("notes", "other.txt", "no task");
    let tasks = load("apps", root.path()).expect("it loads");
    assert_eq!(tasks.iter().map(|task| task.id.as_str()).collect::<Vec<_>>(), ["APPS/3", "APPS/7"]);
    assert_eq!(counts(&tasks[1]), (1, 1));
    write("7", "question.txt", "twice");
    let refused = load("apps", root.path()).expect_err("two are the same").to_string();
    assert!(refused.contains("another folder is the task `APPS/7`"), "{refused}");
    write("0003", "input_output.json", "{");
    let refused = load("apps", root.path()).expect_err("no JSON").to_string();
    assert!(refused.contains("0003, line 1: the field `input_output`: not JSON"), "{refused}");
    let nothing = tempfile::tempdir().expect("a folder");
    assert!(matches!(load("apps", nothing.path()), Err(TaskError::Empty { .. })));
}

#[test]
fn a_bad_apps_record_says_what_is_wrong() {
    use serde_json::json;
    for (input_output, words) in [
        (json!([]), "it is no object"),
        (json!({"inputs": ["1"], "outputs": []}), "1 inputs and 0 outputs"),
        (json!({"inputs": "1", "outputs": []}), "`inputs`: it is no list"),
        (
            json!({"inputs": [1], "outputs": ["1"]}),
            "test 1 of `input_output`: neither a text nor a list of texts",
        ),
        (json!({"inputs": [[1]], "outputs": ["1"]}), "it is no text"),
        (json!({"inputs": [1], "outputs": [1], "fn_name": "f"}), "no list of arguments"),
        (json!({"inputs": [], "outputs": [], "fn_name": "f("}), "no name of a function"),
    ] {
        let (line, reason) = refusal("apps", apps(input_output.clone(), "").to_string().as_bytes());
        assert!(line == 1 && reason.contains(words), "{input_output}: {reason}");
    }
}

#[test]
fn codecontests_guides_by_its_public_tests() {
    use serde_json::json;
    let lists = |tests: &[&str]| json!({"input": tests, "output": tests, "is_valid_test": null});
    let mut record = json!({
        "name": "7_A. Echo",
        "description": "Print it. <image>",
        "public_tests": lists(&["a", "b"]),
        "private_tests": lists(&["c"]),
        "generated_tests": lists(&["d", "e"]),
        "solutions": {"language": [2, 3, 3], "solution": ["int main() {}", "print(input())", "x"]},
        "time_limit": {"seconds": 2, "nanos": 0},
    });
    let task = tasks("codecontests", &record.to_string()).remove(0);
    assert_eq!((task.id.as_str(), counts(&task)), ("7_A. Echo", (2, 3)));
    assert_eq!(scripts(&task.guiding_tests)[1], ("b", "b", Comparison::Words));
    let held_out: Vec<&str> = scripts(&task.held_out_tests).iter().map(|test| test.0).collect();
    assert_eq!(held_out, ["c", "d", "e"]);
    assert_eq!(task.reference_solution.as_deref(), Some("print(input())"));
    record["private_tests"] = json!(null);
    record["generated_tests"] = lists(&[]);
    assert_eq!(counts(&tasks("codecontests", &record.to_string())[0]), (1, 1));
    for (field, value, words) in [
        ("public_tests", json!([]), "`public_tests` is a list, not an object"),
        (
            "private_tests",
            json!({"input": ["a"], "output": []}),
            "`private_tests` has 1 inputs and 0 outputs",
        ),
        ("generated_tests", json!({"input": [1], "output": ["a"]}), "no list of texts `input`"),
        ("description", json!(null), "`description` is missing"),
    ] {
        let mut bad = record.clone();
        bad[field] = value;
        let (_, reason) = refusal("codecontests", bad.to_string().as_bytes());
        assert!(reason.contains(words), "{reason}");
    }
}

fn livecodebench(tests: serde_json::Value) -> serde_json::Value {
    serde_json::json!({
        "question_title": "Sum",
        "question_content": "Add them.",
        "question_id": "abc_1",
        "starter_code": "",
        "public_test_cases": tests.to_string(),
        "private_test_cases": "",
        "metadata": "{}",
    })
}

/// `[{"input": "5\n", "output": "10\n", "testtype": "stdin"}]` as it is published: CPython's `pickle.dumps`, `zlib.compress`,
/// `base64.b64encode`.
const PACKED: &str =
    "eJxrYJlqywABPZbR1UqZeQWlJUpWCkqmMXlKOgpK+aUlUAFDA4hISWpxSUllQSpIrLgkJTNPqTZ2ih4ApoQUew==";

#[test]
fn livecodebench_holds_its_private_tests_out() {
    use serde_json::json;
    let stdin = |input: &str, output: &str| json!({"input": input, "output": output, "testtype": "stdin"});
    let mut record = livecodebench(json!([stdin("1", "2"), stdin("2", "4")]));
    let task = tasks("livecodebench", &record.to_string()).remove(0);
    assert_eq!((task.id.as_str(), counts(&task)), ("abc_1", (1, 1)));
    assert!(task.prompt.starts_with("Sum\n\nAdd them.\n\nThe program reads"), "{}", task.prompt);
    record["private_test_cases"] = json!([stdin("3", "6")]).to_string().into();
    assert_eq!(counts(&tasks("livecodebench", &record.to_string())[0]), (2, 1));
    record["private_test_cases"] = PACKED.into();
    let task = tasks("livecodebench", &record.to_string()).remove(0);
    assert_eq!(counts(&task), (2, 1));
    assert_eq!(scripts(&task.held_out_tests), [("5\n", "10\n", Comparison::Decimals)]);

    let call =
        |input: &str, output: &str| json!({"input": input, "output": output, "testtype": "functional"});
    let mut record = livecodebench(json!([
        call("[1, 2]\n\"a\"", "3"),
        call("[]\n\"\"", "[true]"),
        call("[1]\n\"\"", "false")
    ]));
    record["starter_code"] =
        "class Solution:\n    def add(self, xs: List[int], s: str) -> int:\n        ".into();
    record["metadata"] = "{\"func_name\": \"add\"}".into();
    let task = tasks("livecodebench", &record.to_string()).remove(0);
    assert_eq!(counts(&task), (1, 2));
    assert_eq!(sources(&task.guiding_tests), ["assert Solution().add([1, 2], \"a\") == 3"]);
    assert_eq!(task.entry_point.as_deref(), Some("Solution"));
    assert!(
        task.held_out_tests[0].source.ends_with("assert vigor_lists(Solution().add([], \"\")) in ([True],)")
    );
    assert!(task.held_out_tests[1].source.ends_with("in (False,)"));

    for (field, value, words) in [
        ("metadata", "{}", "`metadata` names none"),
        ("metadata", "x", "the field `metadata`: not JSON"),
        ("metadata", "{\"func_name\": \"a b\"}", "no name of a function"),
        ("public_test_cases", "{}", "`public_test_cases`: it is no list"),
        (
            "public_test_cases",
            "[{\"input\": \"\"}]",
            "test 1 of the field `public_test_cases`: `output` is missing",
        ),
        (
            "public_test_cases",
            "[{\"input\": \"\", \"output\": \"\", \"testtype\": \"x\"}]",
            "`testtype` is `x`",
        ),
        (
            "public_test_cases",
            "[{\"input\": \"a\", \"output\": \"1\", \"testtype\": \"functional\"}]",
            "not JSON",
        ),
        ("private_test_cases", "AAAA", "`private_test_cases`: it is not packed with zlib"),
    ] {
        let mut bad = record.clone();
        bad[field] = value.into();
        let (_, reason) = refusal("livecodebench", bad.to_string().as_bytes());
        assert!(reason.contains(words), "{reason}");
    }
}

#[test]
fn bigcodebench_holds_its_classes_out_as_one_test() {
    use serde_json::json;
    for field in ["complete_prompt", "prompt"] {
        let mut record = json!({
            "task_id": "Big/1",
            "entry_point": "task_func",
            "canonical_solution": "    return n + 1\n",
            "test": "import unittest\nclass TestCases(unittest.TestCase):\n    def test_one(self):\n        self.assertEqual(task_func(1), 2)\n",
        });
        record[field] = "def task_func(n):\n    \"\"\"\n    >>> task_func(2)\n    3\n    \"\"\"\n".into();
        let task = tasks("bigcodebench", &record.to_string()).remove(0);
        assert_eq!((task.prompt_kind, counts(&task)), (PromptKind::Code, (1, 1)));
        assert_eq!(sources(&task.guiding_tests), ["assert task_func(2) == 3"]);
        record["test"] = "pass".into();
        assert!(refusal("bigcodebench", record.to_string().as_bytes()).1.contains("no class of `unittest`"));
        record["entry_point"] = "other".into();
        assert!(refusal("bigcodebench", record.to_string().as_bytes()).1.contains("does not define"));
    }
}

#[test]
fn mbpp_is_cut_as_its_authors_cut_it() {
    let record = |id: u32| {
        format!("{{\"task_id\": {id}, \"text\": \"t\", \"test_list\": [\"assert f({id}) == 1\"]}}\n")
    };
    let all: String = [1, 10, 11, 510, 511, 600, 601, 974].map(record).concat();
    for (name, expected) in [
        ("all", &["1", "10", "11", "510", "511", "600", "601", "974"][..]),
        ("few-shot", &["1", "10"]),
        ("test", &["11", "510"]),
        ("validation", &["511", "600"]),
        ("train", &["601", "974"]),
    ] {
        let found = split("mbpp", name, tasks("mbpp", &all)).expect("a split");
        let ids: Vec<&str> = found.iter().map(|task| task.id.trim_start_matches("MBPP/")).collect();
        assert_eq!(ids, expected, "{name}");
    }
    let refused = |adapter: &str, name: &str, text: &str| {
        split(adapter, name, tasks("mbpp", text)).expect_err("no such split").to_string()
    };
    assert!(refused("mbpp", "tests", &all).contains("use one of all, few-shot, test"));
    assert!(refused("humaneval", "test", &all).contains("only MBPP is cut so"));
    assert!(refused("mbpp", "train", &record(5)).contains("no task from 601 to 974"));
    assert_eq!(split("humaneval", "all", tasks("mbpp", &all)).expect("all").len(), 8);
}

fn humaneval_plus() -> serde_json::Value {
    serde_json::json!({
        "task_id": "Plus/1",
        "prompt": "def half(x):\n    \"\"\"\n    >>> half(4)\n    2.0\n    \"\"\"\n",
        "entry_point": "half",
        "canonical_solution": "    return x / 2\n",
        "contract": "\n    assert x\n",
        "base_input": [[1], [2]],
        "plus_input": [],
        "atol": 0,
    })
}

#[test]
fn humaneval_plus_asks_its_solution() {
    let mut record = humaneval_plus();
    record["plus_input"] = (0..41).map(|n| serde_json::json!([n])).collect();
    // Whole numbers of any size stay what they are.
    let text = record.to_string().replace("[[1],[2]]", "[[1], [123456789012345678901]]");
    let task = tasks("humanevalplus", &text).remove(0);
    assert_eq!(sources(&task.guiding_tests), ["assert half(4) == 2.0"]);
    assert_eq!(task.held_out_tests.len(), 3, "the benchmark's inputs, and 41 more in two tests");
    let (definitions, asserts) = task.held_out_tests[0].source.split_once("assert ").expect("assertions");
    assert_eq!(
        asserts,
        "vigor_near(half(1), vigor_reference(1), 0)\nassert vigor_near(half(123456789012345678901), \
         vigor_reference(123456789012345678901), 0)\n"
    );
    assert!(definitions.contains(r#"\n    return x / 2\n", known)"#), "{definitions}");
    assert_eq!(task.held_out_tests[2].source.matches("\nassert ").count(), 1);

    record["entry_point"] = "find_zero".into();
    record["prompt"] = "def find_zero(xs):\n    \"\"\"Root.\"\"\"\n".into();
    record["atol"] = serde_json::json!(0.001);
    let task = tasks("humanevalplus", &record.to_string()).remove(0);
    assert!(
        task.held_out_tests[0].source.ends_with("\nassert abs(vigor_polynomial(2, find_zero(2))) <= 0.001\n")
    );

    for (field, value, words) in [
        ("atol", serde_json::json!("x"), "the field `atol` is \"x\""),
        ("atol", serde_json::json!(2), "the field `atol` is 2"),
        ("base_input", serde_json::json!({}), "`base_input`: it is no list"),
        ("base_input", serde_json::json!([1]), "`base_input`: an input is no list of arguments"),
        ("canonical_solution", serde_json::json!(null), "`canonical_solution` is missing"),
    ] {
        let mut bad = humaneval_plus();
        bad[field] = value;
        let (_, reason) = refusal("humanevalplus", bad.to_string().as_bytes());
        assert!(reason.contains(words), "{reason}");
    }
    record["base_input"] = serde_json::json!([]);
    record["plus_input"] = serde_json::json!([]);
    assert!(refusal("humanevalplus", record.to_string().as_bytes()).1.contains("are empty"));
}

fn mbpp_plus(number: u32, entry_point: &str, inputs: serde_json::Value) -> serde_json::Value {
    serde_json::json!({
        "task_id": format!("Mbpp/{number}"),
        "prompt": format!("\"\"\"\nDo it.\nassert math.isclose({entry_point}(1), 1.5)\n\"\"\"\n"),
        "entry_point": entry_point,
        "canonical_solution": format!("\ndef {entry_point}(x):\n    return x\n"),
        "assertion": format!("import math\n\nassert math.isclose({entry_point}(1), 1.5)\n"),
        "base_input": inputs,
        "plus_input": {},
        "atol": 0.001,
    })
}

/// The assertions of the only held-out test.
fn mbpp_plus_asserts(record: &str) -> String {
    let task = tasks("mbppplus", record).remove(0);
    let [test] = task.held_out_tests.as_slice() else { panic!("one test") };
    test.source[test.source.find("assert ").expect("assertions")..].to_owned()
}

#[test]
fn mbpp_plus_guides_by_its_prompt_and_asks_its_solution() {
    use serde_json::json;
    let mut record = mbpp_plus(800, "f", json!([[1], [2]]));
    record["plus_input"] = (0..41).map(|n| json!([n])).collect();
    let task = tasks("mbppplus", &record.to_string()).remove(0);
    assert_eq!((task.id.as_str(), task.prompt.as_str()), ("MBPP/800", "Do it."));
    assert_eq!((task.prompt_kind, task.setup.as_str()), (PromptKind::Text, "import math\n"));
    assert_eq!(sources(&task.guiding_tests), ["assert math.isclose(f(1), 1.5)"]);
    assert_eq!(task.held_out_tests.len(), 3, "the benchmark's inputs, and 41 more in two tests");
    let asserts = "assert vigor_near(f(1), vigor_reference(1), 0.001)\n\
                   assert vigor_near(f(2), vigor_reference(2), 0.001)\n";
    assert!(task.held_out_tests[0].source.ends_with(asserts), "{}", task.held_out_tests[0].source);
    assert_eq!(task.reference_solution.as_deref(), Some("\ndef f(x):\n    return x\n"));
    assert_eq!(split("mbppplus", "train", vec![task]).expect("a split").len(), 1);

    for (field, value, words) in [
        ("task_id", json!("Mbpp/x"), "`Mbpp/x`, which ends in no number"),
        ("entry_point", json!("a b"), "no name of a function"),
        ("prompt", json!("Do it."), "`prompt` is no docstring that ends in an assertion"),
        ("canonical_solution", json!(null), "`canonical_solution` is missing"),
        ("atol", json!(-1), "the field `atol` is -1"),
        ("base_input", json!([1]), "`base_input`: an input is no list of arguments"),
        ("plus_input", json!("x"), "`plus_input`: it is no list"),
    ] {
        let mut bad = record.clone();
        bad[field] = value;
        let (line, reason) = refusal("mbppplus", format!("{record}\n{bad}").as_bytes());
        assert!(line == 2 && reason.contains(words), "{line}: {reason}");
    }
    let none = mbpp_plus(800, "f", json!([]));
    assert!(refusal("mbppplus", none.to_string().as_bytes()).1.contains("are empty"));
    let original = r#"{"task_id": 7, "prompt": "p", "code": "def f(): pass", "test_list": ["assert f(1)"]}"#;
    assert_eq!(tasks("mbppplus", original)[0].id, "MBPP/7");
}

/// What the file writes as a list or a text, and the benchmark does not have as one.
#[test]
fn mbpp_plus_arguments_get_their_types_back() {
    use serde_json::json;
    let lists = json!([[[1, [2]], [[3]]]]);
    for (number, inputs, arguments) in [
        (800, lists.clone(), "[1, [2]], [[3]]"),
        (2, lists.clone(), "(1, [2]), ([3],)"),
        (250, lists.clone(), "(1, [2]), [[3]]"),
        (106, lists.clone(), "[1, [2]], ([3],)"),
        (63, lists.clone(), "[1, (2,)], [(3,)]"),
        (75, lists.clone(), "[1, (2,)], [[3]]"),
        (259, lists, "(1, (2,)), ((3,),)"),
        (580, json!([[[1, [2, [3, []]]]]]), "(1, (2, (3, ())))"),
        (722, json!([[{"a": [1, 2]}, 3]]), "{\"a\": (1, 2)}, 3"),
        (115, json!([[[[1, 2], [], {}]]]), "[{1, 2}, {}, {}]"),
        (124, json!([["0", "1j"]]), "float(\"0\"), complex(\"1j\")"),
        (252, json!([["(1+2j)"]]), "complex(\"(1+2j)\")"),
    ] {
        let asserts = mbpp_plus_asserts(&mbpp_plus(number, "f", inputs).to_string());
        assert_eq!(
            asserts,
            format!("assert vigor_near(f({arguments}), vigor_reference({arguments}), 0.001)\n")
        );
    }
    // Python writes infinities, which JSON does not have; in an array of records, too.
    let record = mbpp_plus(404, "f", json!([[1, "a Infinity"]])).to_string().replace("[1,", "[-Infinity,");
    for text in [record.clone(), format!("[{record}]")] {
        assert!(mbpp_plus_asserts(&text).starts_with("assert vigor_near(f(-1e309, \"a Infinity\"), "));
    }
    let asserts = |entry_point| mbpp_plus_asserts(&mbpp_plus(1, entry_point, json!([[1, 2]])).to_string());
    assert_eq!(asserts("Diff"), "assert set(Diff(1, 2)) == set(vigor_reference(1, 2))\n");
    assert_eq!(
        asserts("check_str"),
        "assert vigor_near(check_str(1, 2), vigor_reference(1, 2) is not None, None)\n"
    );
    assert_eq!(
        asserts("surface_Area"),
        "assert vigor_near(surface_Area(1, 2), (vigor_reference(1, 2), vigor_other(1, 2)), None)\n"
    );
}

/// DS-1000's format; the snippet of the second task stands in a function.
fn ds1000(number: u32, end_of_prompt: &str) -> serde_json::Value {
    serde_json::json!({
        "prompt": format!("Double x.\nA:\n<code>\nx = 1\n{end_of_prompt}"),
        "reference_code": "y = 2 * x",
        "metadata": {"problem_id": number, "library": "Numpy", "test_case_cnt": 1},
        "code_context": "exec_context = '[insert]'\n\ndef test_execution(solution: str):\n    exec(solution)\n",
    })
}

#[test]
fn ds1000_gives_its_test_the_text_of_a_snippet() {
    use serde_json::json;
    let mut record = ds1000(3, "</code>\nBEGIN SOLUTION\n<code>\n");
    let task = tasks("ds1000", &record.to_string()).remove(0);
    assert_eq!(
        (task.id.as_str(), task.prompt_kind, counts(&task)),
        ("DS-1000/3", PromptKind::Snippet, (0, 1))
    );
    assert_eq!(task.opening(), "");
    assert_eq!(task.program("y = \"\u{e9}\\n\"\n"), "vigor_snippet = \"y = \\\"\u{e9}\\\\n\\\"\\n\"\n");
    let source = &task.held_out_tests[0].source;
    assert!(source.ends_with("    exec(solution)\n\ntest_execution(vigor_snippet)\n"), "{source}");
    assert_eq!(task.reference_solution.as_deref(), Some("y = 2 * x"));
    record["code_context"] =
        format!("{}\ndef test_string(solution: str):\n    pass", record["code_context"].as_str().unwrap())
            .into();
    let task = tasks("ds1000", &record.to_string()).remove(0);
    assert!(
        task.held_out_tests[0]
            .source
            .ends_with("test_execution(vigor_snippet)\ntest_string(vigor_snippet)\n")
    );

    // What is written begins with the function's header, and the test gets what follows it, once.
    let in_function = ds1000(4, "def f(x = 2):\n    # return it\n    ### BEGIN SOLUTION");
    let task = tasks("ds1000", &in_function.to_string()).remove(0);
    assert_eq!(task.opening(), "def f(x = 2):\n");
    let body = "vigor_snippet = \"    return x\\n\"\n";
    assert_eq!(task.program("def f(x = 2):\n    return x\n"), body);
    assert_eq!(task.program("    return x\n"), body);

    for (field, value, words) in [
        ("prompt", json!(" "), "`prompt` is empty"),
        ("metadata", json!({"problem_id": "3"}), "`metadata` has no number `problem_id`"),
        ("metadata", json!(3), "`metadata` is a number, not an object"),
        ("code_context", json!("def test_string(solution): pass"), "does not define `test_execution`"),
        ("code_context", json!(null), "`code_context` is missing"),
        ("reference_code", json!(["y"]), "`reference_code` is a list"),
        ("prompt", json!("Again."), "the task `DS-1000/3` is on line 1 already"),
    ] {
        let mut bad = record.clone();
        bad[field] = value;
        let (line, reason) = refusal("ds1000", format!("{record}\n{bad}").as_bytes());
        assert!(line == 2 && reason.contains(words), "{line}: {reason}");
    }
}
