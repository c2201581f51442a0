//! The benchmarks' own solutions against the tests that the adapters make of their files.

mod python_child;

use std::path::{Path, PathBuf};
use std::time::Instant;

use python_child::python;
use vigor::task::{Task, Test, load, split};

/// Examples in HumanEval's docstrings that its own solutions fail, and why.
const FAULTY_EXAMPLES: [(&str, &str, &str); 7] = [
    ("HumanEval/47", "assert median([-10, 4, 6, 1000, 10, 20]) == 15.0", "the median is 8.0"),
    (
        "HumanEval/116",
        "assert sort_array([1, 5, 2, 3, 4]) == [1, 2, 3, 4, 5]",
        "sorted by value, not by ones",
    ),
    ("HumanEval/116", "assert sort_array([-2, -3, -4, -5, -6]) == [-6, -5, -4, -3, -2]", "the same"),
    ("HumanEval/130", "assert tri(1) == 3", "of the sequence tri, not of the function, which returns a list"),
    ("HumanEval/130", "assert tri(2) == 2", "the same"),
    ("HumanEval/130", "assert tri(4) == 3", "the same"),
    ("HumanEval/148", "assert bf(\"Earth\", \"Mercury\") == (\"Venus\")", "a tuple without its comma"),
];

fn shared(file: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(file);
    if !path.exists() {
        eprintln!("skipped: no {}", path.display());
        return None;
    }
    Some(path)
}

/// Runs program, set-up and each test, every test in a process of its own with ten seconds, two at a time. A
/// pass is a test that ran to its end, told over a pipe after it. Returns the failures as (task, test, why).
fn failures(tasks: &[&Task], tests: fn(&Task) -> &[Test]) -> Vec<(String, String, String)> {
    let script = "
import json, os, resource, select, signal, sys, time, traceback
jobs = json.load(sys.stdin)
running, failed = {}, []

def start(index):
    program, setup, test = jobs[index]
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        running[pid] = (index, read, time.monotonic() + 10)
        return
    try:
        signal.alarm(20)
        resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(0, 1)
        os.dup2(0, 2)
        names = {'__name__': 'program'}
        for part in (program, setup, test):
            exec(compile(part, 'part', 'exec'), names)
        os.write(write, b'passed')
    except BaseException as error:
        os.write(write, repr(error).encode()[:200])
    os._exit(0)

waiting = list(range(len(jobs)))[::-1]
while waiting or running:
    while waiting and len(running) < 2:
        start(waiting.pop())
    time.sleep(0.0005)
    for pid, (index, read, deadline) in list(running.items()):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        if os.waitpid(pid, os.WNOHANG)[0]:
            said = os.read(read, 1000)
            os.close(read)
            del running[pid]
            if said != b'passed':
                failed.append([index, said.decode(errors='replace') or 'killed'])
print(json.dumps(sorted(failed)))
";
    let mut jobs = Vec::new();
    let mut names = Vec::new();
    for task in tasks {
        let program = task.reference_solution.as_deref().expect("each task has a solution");
        for test in tests(task) {
            jobs.push((program, task.setup.as_str(), test.source.as_str()));
            names.push((task.id.clone(), test.source.clone()));
        }
    }
    let output = python(script, &serde_json::to_string(&jobs).expect("strings are JSON"), 300);
    let failed: Vec<(usize, String)> = serde_json::from_str(&output).expect("the child prints JSON");
    failed.into_iter().map(|(at, why)| (names[at].0.clone(), names[at].1.clone(), why)).collect()
}

#[test]
fn humaneval_solutions_pass_the_examples_in_their_docstrings() {
    let Some(path) = shared("humaneval/HumanEval.jsonl.gz") else { return };
    let tasks = load("humaneval", &path).expect("the official file loads");
    let guided = tasks.iter().filter(|task| !task.guiding_tests.is_empty()).count();
    let tests: usize = tasks.iter().map(|task| task.guiding_tests.len()).sum();
    let failed = failures(&tasks.iter().collect::<Vec<_>>(), |task| &task.guiding_tests);
    println!("HumanEval: {guided} of {} tasks guided by {tests} examples, of which fail:", tasks.len());
    for (task, test, why) in &failed {
        println!("  {task}: {test} ({why})");
    }
    let found: Vec<(&str, &str)> =
        failed.iter().map(|(task, test, _)| (task.as_str(), test.as_str())).collect();
    let known: Vec<(&str, &str)> = FAULTY_EXAMPLES.iter().map(|(task, test, _)| (*task, *test)).collect();
    assert_eq!(found, known);
    assert_eq!((guided, tests), (155, 449));
}

#[test]
fn humaneval_solutions_pass_their_held_out_tests() {
    let Some(path) = shared("humaneval/HumanEval.jsonl.gz") else { return };
    let tasks = load("humaneval", &path).expect("the official file loads");
    let failed = failures(&tasks.iter().collect::<Vec<_>>(), |task| &task.held_out_tests);
    println!("HumanEval: {} of {} solutions pass", tasks.len() - failed.len(), tasks.len());
    assert_eq!(failed, []);
    assert_eq!(tasks.len(), 164);
}

#[test]
fn mbpp_solutions_pass_their_tests() {
    for (file, count) in [("mbpp/mbpp.jsonl", 974), ("mbpp/sanitized-mbpp.json", 427)] {
        let Some(path) = shared(file) else { return };
        let tasks = load("mbpp", &path).expect("the official file loads");
        assert_eq!(tasks.len(), count);
        assert!(tasks.iter().all(|task| task.guiding_tests.len() == 1 && !task.held_out_tests.is_empty()));
        let begun = Instant::now();
        let all: Vec<&Task> = tasks.iter().collect();
        let mut failed = failures(&all, |task| &task.guiding_tests);
        failed.extend(failures(&all, |task| &task.held_out_tests));
        println!("{file}: {} tasks, {} tests fail, {:?}", tasks.len(), failed.len(), begun.elapsed());
        assert_eq!(failed, []);
    }
}

/// Every file, with the number of its tasks, of their guiding and of their held-out tests.
#[test]
fn every_set_loads_with_its_adapter() {
    let sets = [
        ("humaneval", "humaneval/HumanEval.jsonl.gz", (164, 449, 164)),
        ("humaneval", "humaneval-et/HumanEval_ET.jsonl.gz", (164, 449, 164)),
        ("humaneval-et", "humaneval-et/HumanEval_ET.jsonl.gz", (164, 449, 17_628)),
        ("humaneval", "humanevalplus/HumanEvalPlus-OriginFmt.jsonl.gz", (164, 449, 164)),
        ("humanevalplus", "humanevalplus/HumanEvalPlus-OriginFmt.jsonl.gz", (164, 449, 164)),
        ("humanevalplus", "humanevalplus/HumanEvalPlus.jsonl.gz", (164, 449, 3292)),
        ("humanevalplus", "humanevalplus/HumanEvalPlus-Mini.jsonl.gz", (164, 449, 336)),
        ("humanevalplus", "humanevalplus/HumanEvalPlus-NoExtreme.jsonl.gz", (164, 449, 3287)),
        ("mbpp", "mbpp/mbpp.jsonl", (974, 974, 1948)),
        ("mbpp", "mbpp/sanitized-mbpp.json", (427, 427, 897)),
        ("mbpp", "mbpp-et/MBPP_ET.subset.jsonl.gz", (397, 397, 40_097)),
        ("mbpp-et", "mbpp-et/MBPP_ET.subset.jsonl.gz", (397, 397, 40_097)),
        ("mbpp", "mbppplus/MbppPlus-OriginFmt.jsonl.gz", (378, 378, 1172)),
        ("mbppplus", "mbppplus/MbppPlus-OriginFmt.jsonl.gz", (378, 378, 1172)),
        ("mbppplus", "mbppplus/MbppPlus.jsonl.gz", (378, 378, 1518)),
        ("mbppplus", "mbppplus/MbppPlus-NoExtreme.jsonl.gz", (378, 378, 1512)),
        ("apps", "apps/raw/train", (5, 2, 12)),
        ("codecontests", "codecontests/codecontests_hf_layout_derived_20.jsonl.gz", (20, 39, 2194)),
        ("livecodebench", "livecodebench/lcb_1row_true_encoding.jsonl", (1, 1, 4)),
        ("livecodebench", "livecodebench/lcb_3rows_derived_with_private_tests.jsonl", (3, 6, 28)),
        ("livecodebench", "livecodebench/livecodebench_v5v6_public_only.jsonl.gz", (342, 324, 580)),
        ("bigcodebench", "bigcodebench/BigCodeBench.data.jsonl.gz", (1140, 300, 1140)),
        ("bigcodebench", "bigcodebench/BigCodeBench.hf_data.jsonl.gz", (1140, 300, 1140)),
        ("ds1000", "ds1000/ds1000.jsonl.gz", (1000, 0, 1000)),
    ];
    let mut found = Vec::new();
    for (adapter, file, _) in sets {
        let Some(path) = shared(file) else { return };
        let tasks = load(adapter, &path).expect(file);
        let guiding = tasks.iter().map(|task| task.guiding_tests.len()).sum::<usize>();
        let held_out = tasks.iter().map(|task| task.held_out_tests.len()).sum::<usize>();
        found.push((adapter, file, (tasks.len(), guiding, held_out)));
    }
    assert_eq!(found, sets);
}

#[test]
fn the_usual_part_of_mbpp_has_500_tasks() {
    let Some(path) = shared("mbpp/mbpp.jsonl") else { return };
    for (name, count) in [("few-shot", 10), ("test", 500), ("validation", 90), ("train", 374)] {
        let tasks = load("mbpp", &path).expect("the official file loads");
        assert_eq!(split("mbpp", name, tasks).expect("a split").len(), count, "{name}");
    }
}

/// EvalPlus publishes MBPP+ twice: its inputs as JSON, which has no tuples, sets or complex numbers, and as Python. The
/// adapter's calls have the arguments of the latter, but for calls that are there again and for signs of zeros.
#[test]
fn mbpp_plus_calls_with_what_its_original_format_calls_with() {
    let Some(path) = shared("mbppplus/MbppPlus.jsonl.gz") else { return };
    let Some(original) = shared("mbppplus/MbppPlus-OriginFmt.jsonl.gz") else { return };
    let tasks = load("mbppplus", &path).expect("EvalPlus' file loads");
    let originals = load("mbppplus", &original).expect("the file in the original format loads");
    let script = "
import ast, json, math, sys
def text(node):
    value = eval(compile(ast.Expression(node), 'inputs', 'eval'), {'inf': math.inf})
    return repr(value + 0 if type(value) is complex else value)
def values(nodes):
    return tuple(map(text, nodes))
different = []
for name, function, tests, original in json.load(sys.stdin):
    calls = set()
    for statement in ast.parse(tests).body:
        if type(statement) is ast.Assert:
            found = [node for node in ast.walk(statement) if type(node) is ast.Call and getattr(node.func, 'id', '') == function]
            calls.add(values(found[0].args))
    inputs = [one.value for one in ast.parse(original).body if type(one) is ast.Assign and one.targets[0].id == 'inputs']
    if calls != {values(one.elts) for one in inputs[0].elts}:
        different.append(name)
print(json.dumps(different))
";
    let joined =
        |task: &Task| task.held_out_tests.iter().map(|test| test.source.as_str()).collect::<String>();
    let jobs: Vec<_> = tasks
        .iter()
        .map(|task| {
            let original =
                originals.iter().find(|other| other.id == task.id).expect("both have the same tasks");
            let script = &original.held_out_tests.last().expect("it has a script").source;
            (&task.id, &task.entry_point, joined(task), script)
        })
        .collect();
    let output = python(script, &serde_json::to_string(&jobs).expect("strings are JSON"), 60);
    let different: Vec<String> = serde_json::from_str(&output).expect("the child prints JSON");
    assert_eq!(different, Vec::<String>::new());
}

/// Where a snippet of DS-1000 stands in a function, its header is known from the prompt.
#[test]
fn snippets_of_ds1000_begin_where_they_stand() {
    let Some(path) = shared("ds1000/ds1000.jsonl.gz") else { return };
    let tasks = load("ds1000", &path).expect("the official file loads");
    let in_functions: Vec<String> =
        tasks.iter().map(Task::opening).filter(|opening| !opening.is_empty()).collect();
    assert_eq!(in_functions.len(), 71);
    assert!(in_functions.iter().all(|opening| opening.starts_with("def ") && opening.ends_with(":\n")));
}
