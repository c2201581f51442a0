//! Programs that read standard input and print: what they may read with, how they may end, what is compared, and what
//! a hostile one gains.

use std::sync::OnceLock;

use vigor::feedback::{SignalCaps, SignalEntry, signal_text};
use vigor::sandbox::{
    Comparison, EventKind, ExecReport, ExecRequest, ExecTest, Judge, Limits, Policy, Pool, PoolConfig,
    ScriptTest, Trace, TraceCaps,
};
use vigor::session::evaluator::request;

/// `VIGOR_TEST_PYTHON` chooses another interpreter than `python3`.
fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| {
        let python = std::env::var_os("VIGOR_TEST_PYTHON").unwrap_or("python3".into()).into();
        let launcher = env!("CARGO_BIN_EXE_vigor").into();
        let policy = Policy::BestEffort;
        Pool::new(PoolConfig { python, launcher, workers: 2, policy, ..PoolConfig::default() })
            .expect("python3 and the vigor binary")
    })
}

fn script(stdin: &str, stdout: &str) -> ExecTest {
    let comparison = Comparison::Text;
    ExecTest::Script(ScriptTest { stdin: stdin.to_owned(), stdout: stdout.to_owned(), comparison })
}

fn run(code: &str, tests: Vec<ExecTest>, trace: Option<TraceCaps>) -> ExecReport {
    let limits = Limits { wall_test_seconds: 3.0, wall_total_seconds: 20.0, ..Limits::default() };
    let count = tests.len();
    let request = ExecRequest {
        code: code.to_owned(),
        tests,
        limits,
        trace,
        keep_going: true,
        ..ExecRequest::default()
    };
    let report = pool().execute(&request).expect("a report");
    assert_eq!(report.tests.len(), count);
    assert!(report.tests.iter().all(|test| test.judge == Judge::Outside));
    report
}

/// `kind` or `kind: message` of the only test.
fn verdict(code: &str, stdin: &str, stdout: &str) -> String {
    let record = run(code, vec![script(stdin, stdout)], None).tests[0].verdict.record();
    if record.message.is_empty() { record.kind } else { format!("{}: {}", record.kind, record.message) }
}

#[test]
fn all_usual_ways_to_read() {
    for read in [
        "numbers = [int(input()) for _ in range(3)]",
        "import sys\nnumbers = [int(line) for line in sys.stdin]",
        "import sys\nnumbers = list(map(int, sys.stdin.read().split()))",
        "import sys\ninput = sys.stdin.readline\nnumbers = [int(input()) for _ in range(3)]",
        "import sys\nnumbers = list(map(int, sys.stdin.buffer.read().split()))",
        "import sys\nnumbers = [int(sys.stdin.buffer.readline()) for _ in range(3)]",
        "import sys\nnumbers = list(map(int, sys.stdin.readlines()))",
        "numbers = list(map(int, open(0).read().split()))",
        "import os\nnumbers = list(map(int, os.read(0, 100).split()))",
        "import os, sys\nnumbers = list(map(int, os.read(sys.stdin.fileno(), 100).split()))",
        "import fileinput\nnumbers = [int(line) for line in fileinput.input()]",
        "from sys import stdin\nnumbers = [int(stdin.readline()) for _ in range(3)]",
    ] {
        assert_eq!(
            verdict(&format!("{read}\nprint(sum(numbers))\n"), "1\n2\n3\n", "6\n"),
            "passed",
            "{read}"
        );
    }
    let long = format!("{}\n", "7 ".repeat(200_000));
    let sum = "print(sum(map(int, input().split())))\n";
    assert_eq!(verdict(sum, &long, "1400000"), "passed", "more than a descriptor holds");
    assert_eq!(verdict("print(input() + 'é')\n", "日本\r\n", "日本é\n"), "passed");
}

#[test]
fn all_usual_ways_to_print() {
    for print in [
        "print('a'); print('b')",
        "import sys\nsys.stdout.write('a\\nb\\n')",
        "import sys\nsys.stdout.buffer.write(b'a\\nb\\n')",
        "import sys\nprint('a', flush=True)\nsys.stdout.flush()\nsys.stdout.writelines(['b', '\\n'])",
        "import sys\nprint('no', file=sys.stderr)\nprint('a\\nb')",
        "import sys\nprint('a\\nb')\nsys.stdout.close()",
        "import sys, io\nsys.stdout = io.StringIO()\nprint('a\\nb')\nsys.__stdout__.write(sys.stdout.getvalue())",
        "import atexit\natexit.register(print, 'b')\nprint('a')",
        "import threading, time\ndef main():\n    time.sleep(0.1)\n    print('a\\nb')\nthreading.Thread(target=main).start()",
        "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(2)\nprint(pool.submit(str, 'a\\nb').result())",
        "def main():\n    print('a\\nb')\nif __name__ == '__main__':\n    main()",
        "import __main__\nx = 'a\\nb'\nprint(__main__.x)",
    ] {
        assert_eq!(verdict(&format!("{print}\n"), "", "a\nb"), "passed", "{print}");
    }
}

#[test]
fn how_a_script_may_end() {
    for end in ["exit()", "exit(0)", "quit()", "import sys\nsys.exit()", "raise SystemExit", "exit(False)"] {
        let expected = if end == "exit(False)" { "exception: SystemExit: False" } else { "passed" };
        assert_eq!(
            verdict(&format!("print(1)\n{end}\nprint(2)\n"), "", "1").split(" (").next(),
            Some(expected),
            "{end}"
        );
    }
    for (end, expected) in [
        ("exit(1)", "exception: SystemExit: 1 (line 2)"),
        ("import sys\nsys.exit('wrong')", "exception: SystemExit: wrong (line 3)"),
        ("1 / 0", "exception: ZeroDivisionError: division by zero (line 2)"),
        ("input()", "exception: EOFError: EOF when reading a line (line 2)"),
        ("import os\nos._exit(0)", "forbidden: ended its process without an answer (exit status 0)"),
        ("while True: pass", "timeout"),
        ("while True: print('x' * 10 ** 6)", "output"),
        ("print('x' * 5_000_000)", "output"),
        ("print(", "syntax_error: '(' was never closed (line 2)"),
    ] {
        assert_eq!(verdict(&format!("print(1)\n{end}\n"), "", "1"), expected, "{end}");
    }
}

#[test]
fn every_test_is_a_run_of_its_own() {
    let code = "import sys\nn = int(input())\nif n == 2:\n    sys.stdout = sys.stdin = None\nif n == 3:\n    import os\n    os._exit(3)\nprint(n * n)\n";
    let tests =
        vec![script("1", "1"), script("x", "1"), script("2", "4"), script("3", "9"), script("4", "16")];
    let report = run(code, tests, None);
    let kinds: Vec<String> = report.tests.iter().map(|test| test.verdict.record().kind).collect();
    assert_eq!(kinds, ["passed", "exception", "failed", "forbidden", "passed"]);
    assert_eq!(report.tests[4].printed.as_deref(), Some("16\n"));
}

#[test]
fn statements_and_scripts_may_be_mixed() {
    let code =
        "def double(x):\n    return 2 * x\nif __name__ == '__main__':\n    print(double(int(input())))\n";
    let tests = vec![
        "assert double(2) == 4".into(),
        script("3", "6"),
        "assert double(2) == 5".into(),
        script("3", "7"),
    ];
    let report = run(code, tests, Some(TraceCaps::default()));
    let kinds: Vec<String> = report.tests.iter().map(|test| test.verdict.record().kind).collect();
    assert_eq!(kinds, ["passed", "passed", "failed", "failed"]);
    for (test, lines) in report.tests.iter().zip([vec![2], vec![1, 3, 4, 2], vec![2], vec![1, 3, 4, 2]]) {
        let trace = test.trace.as_ref().expect("a trace");
        assert_eq!(lines_of(trace), lines, "{trace:?}");
        assert!(!trace.capped);
    }
}

fn lines_of(trace: &Trace) -> Vec<u32> {
    trace.events.iter().filter(|event| event.kind == EventKind::Line).map(|event| event.line).collect()
}

/// The trace of a script, an event a line: kind, line, depth, changed variables, value.
fn traced(code: &str, stdin: &str) -> Vec<String> {
    let report = run(code, vec![script(stdin, "")], Some(TraceCaps::default()));
    let trace = report.tests[0].trace.clone().expect("a trace");
    assert!(!trace.capped, "{trace:?}");
    let text = |event: &vigor::sandbox::TraceEvent| {
        let locals: Vec<String> = event
            .locals
            .iter()
            .map(|local| format!("{}={}", local.name, local.value.as_deref().unwrap_or("gone")))
            .collect();
        let value = event.value.as_deref().unwrap_or("");
        format!("{:?} {} {} [{}] {value}", event.kind, event.line, event.depth, locals.join(" "))
            .trim_end()
            .to_owned()
    };
    trace.events.iter().map(text).collect()
}

#[test]
fn the_top_level_of_a_script_is_traced() {
    let code = "import sys\nclass Box:\n    size = 2\ndef half(x):\n    return x // 2\nn = int(input())\nsquares = [i * i for i in range(n)]\nfor k in squares:\n    n = half(n)\ndel k\nprint(n)\n";
    assert_eq!(
        traced(code, "2\n"),
        [
            "Line 1 1 []",
            "Line 2 1 []",
            "Line 4 1 []",
            "Line 6 1 []",
            "Line 7 1 [n=2]",
            "Line 8 1 [squares=[0, 1]]",
            "Line 9 1 [k=0]",
            "Call 4 2 [x=2]",
            "Line 5 2 []",
            "Return 5 2 [] 1",
            "Line 8 1 [n=1]",
            "Line 9 1 [k=1]",
            "Call 4 2 [x=1]",
            "Line 5 2 []",
            "Return 5 2 [] 0",
            "Line 8 1 [n=0]",
            "Line 10 1 []",
            "Line 11 1 [k=gone]",
            "Return 11 1 []",
        ]
    );
}

#[test]
fn a_trace_shows_where_a_script_failed() {
    let code = "def main():\n    n = int(input())\n    print(10 // n)\nmain()\n";
    assert_eq!(
        traced(code, "0"),
        [
            "Line 1 1 []",
            "Line 4 1 []",
            "Call 1 2 []",
            "Line 2 2 []",
            "Line 3 2 [n=0]",
            "Exception 3 2 [] ZeroDivisionError: integer division or modulo by zero",
            "Exception 4 1 [] ZeroDivisionError: integer division or modulo by zero",
        ]
    );
}

/// What a program may try that knows nothing of the answer. None of it passes; the pool goes on.
#[test]
fn a_hostile_script_has_to_know_the_answer() {
    let programs = [
        ("prints 100 MB", "for _ in range(100):\n    print('7' * 10 ** 6)\n"),
        ("leaves before it prints", "import os\nos._exit(0)\n"),
        ("closes its streams", "import sys\nsys.stdout.close()\nsys.stdin.close()\n"),
        ("closes descriptors", "import os\nos.closerange(0, 64)\n"),
        ("reads beyond the input", "import os\nwhile True:\n    os.read(0, 1 << 20)\n"),
        (
            "has another standard output",
            "import sys\nclass Any:\n    def write(self, text): pass\n    def flush(self): pass\nsys.stdout = Any()\nprint(42)\n",
        ),
        (
            "forges on every descriptor",
            "import os\nfor fd in range(64):\n    try:\n        os.write(fd, b'{\"record\":\"test\",\"verdict\":{\"verdict\":\"passed\"}}')\n    except OSError:\n        pass\n",
        ),
        (
            "tells a text that agrees with all",
            "import sys\nclass Any(str):\n    def __eq__(self, other): return True\n    __hash__ = str.__hash__\nsys.stdout.write(Any('x'))\n",
        ),
        (
            "sends records itself",
            "import os, sys\nframe = sys._getframe()\nwhile frame is not None:\n    for status in list(frame.f_locals.values()):\n        if hasattr(status, 'nonce') and hasattr(status, 'send'):\n            for answers in ([], [{'shown': '', 'value': None}], [{'shown': '', 'value': ''}], [{'shown': '', 'value': '42 '}] * 2):\n                status.send({'record': 'test', 'verdict': {'verdict': 'passed'}, 'answers': answers})\n            os._exit(0)\n    frame = frame.f_back\n",
        ),
        (
            "searches its memory",
            "import gc\nfor one in gc.get_objects():\n    if type(one) is dict and 'stdout' in one:\n        print(one['stdout'])\n",
        ),
        (
            "claims to have been judged",
            "import sys\nframe = sys._getframe()\nwhile frame is not None:\n    test = frame.f_locals.get('test')\n    if test is not None and hasattr(test, 'printed'):\n        type(test).answers = lambda self: []\n    frame = frame.f_back\n",
        ),
        (
            "leaves threads that do not end",
            "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\nprint(41)\n",
        ),
    ];
    for (what, code) in programs {
        let report =
            run(code, vec![script("1\n", "42\n"), script("2\n", "43\n")], Some(TraceCaps::default()));
        for test in &report.tests {
            assert!(
                !test.verdict.passed() && test.verdict.record().kind != "harness_error",
                "{what}: {:?}",
                test.verdict
            );
        }
        assert_eq!(verdict("print(42)\n", "", "42"), "passed", "after: {what}");
    }
}

/// What guidance needs of a task that reads and prints: a trace, what was printed, and how it was asked.
#[test]
fn a_guiding_script_gives_what_a_signal_is_made_of() {
    let test = vigor::task::Test::script(ScriptTest {
        stdin: "3\n".to_owned(),
        stdout: "9\n".to_owned(),
        ..ScriptTest::default()
    });
    let task = vigor::task::Task {
        id: "s".to_owned(),
        prompt: "Print the square.".to_owned(),
        prompt_kind: vigor::task::PromptKind::Text,
        entry_point: None,
        imports: "from math import *\n".to_owned(),
        setup: "not python".to_owned(),
        guiding_tests: vec![test],
        held_out_tests: Vec::new(),
        reference_solution: None,
    };
    let request = request(
        &task,
        "n = int(input())\nprint(gcd(n, 0))\nn += 1\n",
        &task.guiding_tests,
        Limits::default(),
    );
    let report =
        pool().execute(&ExecRequest { trace: Some(TraceCaps::default()), ..request }).expect("a report");
    let outcome = &report.tests[0];
    assert_eq!(outcome.verdict.record().message, "printed line 1: got \"3\", expected \"9\"");
    let trace = outcome.trace.as_ref().expect("a trace");
    let entry = SignalEntry {
        program: "PROGRAM",
        invocation: &task.guiding_tests[0].invocation(),
        printed: outcome.printed.as_deref(),
        trace,
    };
    let text = signal_text(&[entry], &SignalCaps::default()).text;
    let (_, entry) = text.split_once("# Function:\nPROGRAM\n").expect("the program");
    // Neither what the benchmark imports nor what it expects is shown.
    assert_eq!(
        entry.replace("PROGRAM", ""),
        "# Invocation:\nthe whole program, with this standard input:\n3\n# Printed:\n3\n# Execution Trace:\n\
         = {} , {}\nLINE: \n= {n: 3} , {n: int}\nLINE: \n= {n: 3} , {n: int}\nLINE: \n= {n: 4} , {n: int}\nRETURN: \n"
    );
}
