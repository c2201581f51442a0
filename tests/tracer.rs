//! The tracer as its callers see it: the same events from every Python and from both sources of events, caps, the
//! last state alone, values and programs that resist.
//!
//! `VIGOR_TEST_PYTHONS` names the interpreters of the tests that compare them, separated by `:`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use vigor::feedback::{SignalCaps, SignalEntry, SignalMode, signal_text};
use vigor::sandbox::{EventKind, ExecReport, ExecRequest, Limits, Pool, PoolConfig, Trace, TraceCaps};

/// Makes the next test in the same process fall back to `sys.settrace`: all identifiers of tools are taken.
const TAKE_TOOLS: &str = "\
import sys
for tool in range(6 if hasattr(sys, 'monitoring') else 0):
    sys.monitoring.free_tool_id(tool)
    sys.monitoring.use_tool_id(tool, 'taken')
";

fn start(python: impl Into<PathBuf>) -> Pool {
    let launcher = env!("CARGO_BIN_EXE_vigor").into();
    Pool::new(PoolConfig { python: python.into(), launcher, workers: 1, ..PoolConfig::default() })
        .expect("Python and the vigor binary")
}

fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| start(std::env::var_os("VIGOR_TEST_PYTHON").unwrap_or("python3".into())))
}

fn pythons() -> Vec<PathBuf> {
    let one = std::env::var_os("VIGOR_TEST_PYTHON").unwrap_or("python3".into());
    let paths = std::env::var_os("VIGOR_TEST_PYTHONS").unwrap_or(one);
    std::env::split_paths(&paths).collect()
}

fn request(code: &str, tests: &[&str], trace: Option<TraceCaps>) -> ExecRequest {
    ExecRequest {
        code: code.to_owned(),
        tests: tests.iter().map(|test| (*test).into()).collect(),
        trace,
        limits: Limits { wall_test_seconds: 10.0, ..Limits::default() },
        keep_going: true,
        ..ExecRequest::default()
    }
}

fn traced(pool: &Pool, code: &str, tests: &[&str], caps: TraceCaps) -> ExecReport {
    pool.execute(&request(code, tests, Some(caps))).expect("a report")
}

/// The trace of the only test, which passes.
fn trace_of(code: &str, test: &str, caps: TraceCaps) -> Trace {
    let outcome = traced(pool(), code, &[test], caps).tests.remove(0);
    assert!(outcome.verdict.passed(), "{code}\n{:?}", outcome.verdict);
    outcome.trace.expect("a trace")
}

/// A line an event: depth, kind, function, line of the program, the variables that changed, the value.
fn told(trace: &Trace) -> String {
    let mut text = String::new();
    for event in &trace.events {
        let kind = match event.kind {
            EventKind::Call => format!("call {}", event.function),
            EventKind::Line => "line".to_owned(),
            EventKind::Return => "return".to_owned(),
            EventKind::Exception => "exception".to_owned(),
        };
        text += &format!("{} {kind} @{}", event.depth, event.line);
        for local in &event.locals {
            text += &format!(" {}:{}={}", local.name, local.kind, local.value.as_deref().unwrap_or("-"));
        }
        if let Some(value) = &event.value {
            text += &format!(" -> {value}");
        }
        text.push('\n');
    }
    if trace.capped { text + "capped\n" } else { text }
}

/// A file of `tests/traces`: a program, a test, and what its trace tells.
struct Expected {
    name: String,
    program: String,
    test: String,
    trace: String,
}

fn folder(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    let entries = fs::read_dir(folder).expect("the folder");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

fn expected() -> Vec<Expected> {
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a file");
        let (program, rest) = text.split_once("=== test\n").expect("a test");
        let (test, trace) = rest.split_once("=== trace\n").expect("a trace");
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        Expected { name, program: program.into(), test: test.into(), trace: trace.into() }
    };
    folder("traces").into_iter().map(read).collect()
}

/// The verdicts of these programs do not matter: some end with an exception.
fn trace_in(pool: &Pool, case: &Expected, caps: TraceCaps) -> Trace {
    let report = traced(pool, &case.program, &[&case.test], caps);
    report.tests[0].trace.clone().expect("a trace")
}

/// Where versions of CPython differ by themselves, the programs keep away from it: 3.9 enters the lines of
/// `finally`, `while` and `with` otherwise and tells the `StopIteration` of a generator in a `for`; 3.11 changed the
/// texts of some exceptions, and 3.12 the order of lines in a statement that starts with a comprehension on more than
/// one line; 3.13 does not tell that a suspended generator is closed, and the variables of a resumed one come in
/// another order.
#[test]
fn every_python_gives_the_same_trace() {
    let cases = expected();
    assert!(cases.len() >= 15);
    for python in pythons() {
        let pool = start(&python);
        for case in &cases {
            let trace = trace_in(&pool, case, TraceCaps::default());
            assert_eq!(told(&trace), case.trace, "{} in {}", case.name, python.display());
        }
    }
}

#[test]
fn both_sources_of_events_give_the_same_trace() {
    for python in pythons() {
        let pool = start(&python);
        for case in expected() {
            let tests =
                [case.test.as_str(), TAKE_TOOLS, &case.test, "import sys\nassert sys.gettrace() is not None"];
            let report = traced(&pool, &case.program, &tests, TraceCaps::default());
            assert!(report.tests[3].verdict.passed(), "the fallback: {:?}", report.tests[3].verdict);
            assert_eq!(report.tests[0], report.tests[2], "{} in {}", case.name, python.display());
        }
        let probe = "import sys\nassert (sys.gettrace() is None) == hasattr(sys, 'monitoring')";
        assert!(
            traced(&pool, "", &[probe], TraceCaps::default()).passed() == 1,
            "monitoring where it exists"
        );
    }
}

#[test]
fn comprehensions_are_one_step() {
    let code = "
def f(rows):
    i = 5
    sums = [
        x + y
        for x in rows
        for y in rows
        if x != y
    ]
    calls = [(lambda z: z + x)(i) for x in rows]
    try:
        bad = [1 // x for x in rows]
    except ZeroDivisionError:
        bad = {x: [y for y in rows] for x in rows}
    return sums, calls, bad
";
    let trace =
        trace_of(code, "assert f([0, 1]) == ([1, 1], [5, 6], {0: [0, 1], 1: [0, 1]})", TraceCaps::default());
    let shown =
        |name: &str| trace.events.iter().any(|event| event.locals.iter().any(|local| local.name == name));
    assert!(shown("sums") && shown("calls") && shown("bad") && shown("i"));
    let f_shows = |name: &str| {
        let mut events = trace.events.iter().filter(|event| event.depth == 1);
        events.any(|event| event.locals.iter().any(|local| local.name == name))
    };
    assert!(!f_shows("x") && !f_shows("y"), "{}", told(&trace));
    let lines = |line| trace.events.iter().filter(|event| event.depth == 1 && event.line == line).count();
    assert_eq!((lines(10), lines(14)), (1, 1), "{}", told(&trace));
}

#[test]
fn calls_that_are_too_deep_are_left_out() {
    let code = "
def down(n):
    if n == 0:
        return 0
    return 1 + down(n - 1)
def f():
    a = down(900)
    b = a + 1
    return b
";
    let trace = trace_of(code, "assert f() == 901", TraceCaps::default());
    assert!(trace.capped);
    assert_eq!(trace.events.iter().map(|event| event.depth).max(), Some(64));
    assert!(told(&trace).ends_with("1 line @8 a:int=900\n1 line @9 b:int=901\n1 return @9 -> 901\ncapped\n"));
    let caps = TraceCaps { max_depth: 1, ..TraceCaps::default() };
    let text =
        "1 call f @6\n1 line @7\n1 line @8 a:int=900\n1 line @9 b:int=901\n1 return @9 -> 901\ncapped\n";
    assert_eq!(told(&trace_of(code, "f()", caps)), text);
    let caps = TraceCaps { max_depth: 902, ..TraceCaps::default() };
    let trace = trace_of(code, "f()", TraceCaps { max_events: 10_000, max_total_bytes: 1 << 20, ..caps });
    assert!(!trace.capped && trace.events.len() > 2700, "{}", trace.events.len());
}

fn minimal(program: &str, trace: &Trace) -> String {
    let caps = SignalCaps { mode: SignalMode::Minimal, ..SignalCaps::default() };
    signal_text(&[SignalEntry { program, invocation: "f()", printed: None, trace }], &caps).text
}

#[test]
fn the_last_state_alone_gives_the_same_minimal_signal() {
    let last_only = TraceCaps { last_only: true, ..TraceCaps::default() };
    let mut shown = 0;
    for case in expected() {
        let full = trace_in(pool(), &case, TraceCaps::default());
        let last = trace_in(pool(), &case, last_only);
        assert_eq!((full.capped, last.capped), (false, false), "{}", case.name);
        assert_eq!(last.events.len(), 1, "{}", case.name);
        assert_eq!(minimal(&case.program, &last), minimal(&case.program, &full), "{}", case.name);
        shown += usize::from(!last.events[0].locals.is_empty());
    }
    assert!(shown >= 10);
    // No line of a function ran: the last event is what there is.
    let code = "try:\n    raise KeyError\nexcept KeyError: pass\n";
    let last = trace_of(code, "pass", last_only);
    assert_eq!(minimal(code, &last), minimal(code, &trace_of(code, "pass", TraceCaps::default())));
    assert_eq!(trace_of("x = 1\n", "pass", last_only), Trace::default());
}

#[test]
fn the_last_state_is_that_of_the_end() {
    let code = "
def step(n):
    return n + 1
def f():
    a = 0
    for b in range(20000):
        a = step(a)
    c = [a]
    return c
";
    let full = trace_of(code, "f()", TraceCaps::default());
    assert!(full.capped);
    let last = trace_of(code, "f()", TraceCaps { last_only: true, ..TraceCaps::default() });
    assert_eq!(told(&last), "1 line @9 a:int=20000 b:int=19999 c:list=[20000]\n");
    let caps = TraceCaps { last_only: true, max_total_bytes: 40, ..TraceCaps::default() };
    let last = trace_of(code, "f()", caps);
    assert!(last.capped && last.events[0].locals.len() < 3, "the cap on the size holds: {}", told(&last));
    // It has a cap on work, too.
    let endless = "def f():\n    a = []\n    for i in range(10**7):\n        a.append(i)\n        if i > 10**6: return\n";
    assert!(trace_of(endless, "f()", TraceCaps { last_only: true, ..TraceCaps::default() }).capped);
}

#[test]
fn values_that_resist_are_shown_without_their_help() {
    // These reach a cap: millions of lines or of members of sets, thousands of variables, the deepest recursion.
    let capped = ["many_variables", "quiet", "recursion", "sets"];
    let programs = folder("hostile_values");
    assert!(programs.len() >= 15);
    for path in programs {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let code = fs::read_to_string(&path).expect("a program");
        let plain = pool().execute(&request(&code, &["f()"], None)).expect("a report");
        let report = traced(pool(), &code, &["f()"], TraceCaps::default());
        assert!(plain.tests[0].verdict.passed(), "{name}: {:?}", plain.tests[0].verdict);
        assert_eq!(report.tests[0].verdict, plain.tests[0].verdict, "{name}");
        let trace = report.tests[0].trace.as_ref().expect("a trace");
        assert_eq!(trace.capped, capped.contains(&name.as_str()), "{name}: {}", told(trace));
        assert!(trace.events.iter().any(|event| event.function == "f"), "{name}");
        let text = minimal(&code, trace);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{name}");
    }
}

#[test]
fn a_program_that_takes_the_tracer_away_is_told() {
    const TOOLS: &str =
        "import sys\nm = sys.monitoring\nours = [i for i in range(6) if m.get_tool(i) == 'vigor tracer']\n";
    let monitoring = |what: &str| format!("{TOOLS}for i in ours: {what}\n");
    // What is done, and which source of events it harms.
    let attacks = BTreeMap::from([
        ("import sys\nsys.settrace(None)\n".to_owned(), "settrace"),
        ("import sys\nsys.settrace(lambda *a: None)\n".to_owned(), "settrace"),
        ("import sys\nsys._getframe(1).f_trace = None\n".to_owned(), "settrace"),
        ("import sys\nsys._getframe(1).f_trace_lines = False\n".to_owned(), "settrace"),
        ("import sys\nsys.settrace = sys.gettrace = sys._getframe = sys.monitoring = None\n".to_owned(), ""),
        (
            "import sys, threading\nthreading.settrace(print)\nsys.setprofile(lambda *a: None)\n".to_owned(),
            "",
        ),
        (monitoring("m.free_tool_id(i)"), "monitoring"),
        (monitoring("m.set_events(i, 0)"), "monitoring"),
        (monitoring("m.set_local_events(i, f.__code__, 0)"), "monitoring"),
        (monitoring("m.register_callback(i, m.events.LINE, None)"), "monitoring"),
        (monitoring("m.register_callback(i, m.events.PY_RETURN, lambda *a: m.DISABLE)"), "monitoring"),
        (monitoring("m.restart_events()"), ""),
    ]);
    let code = "
import sys
def f(attack):
    exec(attack, {'f': f})
    x = 1
    return g(x)
def g(x):
    return x + 1
";
    let probe = "import sys\nassert sys.gettrace() is None";
    let source = match traced(pool(), code, &[probe], TraceCaps::default()).passed() {
        1 => "monitoring",
        _ => "settrace",
    };
    for (attack, harms) in attacks {
        if attack.starts_with(TOOLS) && source != "monitoring" {
            continue;
        }
        let test = format!("assert f(compile({attack:?}, '<attack>', 'exec')) == 2");
        let trace = trace_of(code, &test, TraceCaps::default());
        if harms == source {
            assert!(trace.capped, "{attack}\n{}", told(&trace));
        } else {
            let end = "1 line @5\n1 line @6 x:int=1\n2 call g @7 x:int=1\n2 line @8\n2 return @8 -> 2\n1 return @6 -> 2\n";
            assert!(told(&trace).ends_with(end), "{attack}\n{}", told(&trace));
        }
    }
    // Between calls, too: nothing is left open then.
    for (attack, harms) in [
        ("import sys\nsys.settrace(None)\n".to_owned(), "settrace"),
        (monitoring("m.free_tool_id(i)"), "monitoring"),
        (monitoring("m.set_events(i, 0)"), "monitoring"),
        (monitoring("m.register_callback(i, m.events.LINE, None)"), "monitoring"),
    ] {
        if harms == source {
            let trace = trace_of(&format!("{code}{attack}"), "assert g(1) == 2", TraceCaps::default());
            assert!(trace.capped, "{attack}\n{}", told(&trace));
        }
    }
    // A tool whose callbacks fail in every function, those of the harness too, gains nothing.
    let raising = format!(
        "{}    for e in range(16): m.register_callback(i, 1 << e, lambda *a: 1 / 0)\n",
        monitoring("pass").trim_end().trim_end_matches("pass")
    );
    if source == "monitoring" {
        let test =
            format!("assert f(compile({:?}, '<attack>', 'exec')) == 3", raising.replace(": \n", ":\n"));
        assert!(!traced(pool(), code, &[&test], TraceCaps::default()).tests[0].verdict.passed());
    }
    assert_eq!(told(&trace_of("def f():\n    return 1\n", "f()", TraceCaps::default())).lines().count(), 3);
}

const SIGNAL: &str = "\
### How possible continuations behave when run

The entries below were recorded by running possible continuations of the solution. A continuation may be \
unfinished, may be wrong, and was tried only to learn from it.
Each entry has three parts:
- `# Function:` the code that was run
- `# Invocation:` the call that was made
- `# Execution Trace:` the steps that were executed, with the variables and their types at each step
Learn from these runs what the code really does, and let that guide the code that you write next.

# Function:
PROGRAM
# Invocation:
f(1)
# Execution Trace:
= {n: 1} , {n: int}
CALL: def f(n):
= {n: 1} , {n: int}
LINE:     x = g(n)
== {n: 1} , {n: int}
CALL: def g(n):
== {n: 1} , {n: int}
LINE:     if n > 1:
== {n: 1} , {n: int}
LINE:     return [n]
== {n: 1} , {n: int}
RETURN:     return [n]
Return Value: [1]
= {n: 1, x: [1]} , {n: int, x: list}
LINE:     try:
= {n: 1, x: [1]} , {n: int, x: list}
LINE:         g(2)
== {n: 2} , {n: int}
CALL: def g(n):
== {n: 2} , {n: int}
LINE:     if n > 1:
== {n: 2} , {n: int}
LINE:         raise ValueError(\"too\\nbig\")
== {n: 2} , {n: int}
EXCEPTION:         raise ValueError(\"too\\nbig\")
Exception: ValueError: too big
= {n: 1, x: [1]} , {n: int, x: list}
EXCEPTION:         g(2)
Exception: ValueError: too big
= {n: 1, x: [1]} , {n: int, x: list}
LINE:     except ValueError:
= {n: 1, x: [1]} , {n: int, x: list}
LINE:         del x
= {n: 1} , {n: int}
LINE:     return deep(5)
== {n: 5} , {n: int}
CALL: def deep(n):
== {n: 5} , {n: int}
LINE:     return n and deep(n - 1)
=== {n: 4} , {n: int}
CALL: def deep(n):
=== {n: 4} , {n: int}
LINE:     return n and deep(n - 1)
==== {n: 3} , {n: int}
CALL: def deep(n):
==== {n: 3} , {n: int}
LINE:     return n and deep(n - 1)
===== {n: 2} , {n: int}
CALL: def deep(n):
===== {n: 2} , {n: int}
LINE:     return n and deep(n - 1)
===== {n: 1} , {n: int}
CALL: def deep(n):
===== {n: 1} , {n: int}
LINE:     return n and deep(n - 1)
===== {n: 0} , {n: int}
CALL: def deep(n):
===== {n: 0} , {n: int}
LINE:     return n and deep(n - 1)
===== {n: 0} , {n: int}
RETURN:     return n and deep(n - 1)
Return Value: 0
===== {n: 1} , {n: int}
RETURN:     return n and deep(n - 1)
Return Value: 0
===== {n: 2} , {n: int}
RETURN:     return n and deep(n - 1)
Return Value: 0
==== {n: 3} , {n: int}
RETURN:     return n and deep(n - 1)
Return Value: 0
=== {n: 4} , {n: int}
RETURN:     return n and deep(n - 1)
Return Value: 0
== {n: 5} , {n: int}
RETURN:     return n and deep(n - 1)
Return Value: 0
= {n: 1} , {n: int}
RETURN:     return deep(5)
Return Value: 0
";

/// What prompts are made of: the layout of the text and of every kind of event, from a real run.
#[test]
fn the_text_of_a_signal() {
    let program = "\
def g(n):
    if n > 1:
        raise ValueError(\"too\\nbig\")
    return [n]

def f(n):
    x = g(n)
    try:
        g(2)
    except ValueError:
        del x
    return deep(5)

def deep(n):
    return n and deep(n - 1)
";
    let trace = trace_of(program, "f(1)", TraceCaps::default());
    let entry = SignalEntry { program, invocation: "f(1)", printed: None, trace: &trace };
    let signal = signal_text(&[entry], &SignalCaps::default());
    assert_eq!(signal.text, SIGNAL.replace("PROGRAM\n", program));
    assert!(!signal.capped);
}
