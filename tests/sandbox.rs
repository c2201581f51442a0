//! The sandbox as its callers use it: verdicts, limits, hostile programs, and a pool that stays healthy.

use std::sync::OnceLock;
use std::time::Instant;

use vigor::sandbox::{
    Capability, EventKind, ExecReport, ExecRequest, Limits, Policy, Pool, PoolConfig, SandboxError,
    TraceCaps, Verdict,
};
use vigor::session::trace::Gate;

/// `VIGOR_TEST_PYTHON` chooses another interpreter than `python3`.
fn config(workers: usize) -> PoolConfig {
    let python = std::env::var_os("VIGOR_TEST_PYTHON").unwrap_or("python3".into()).into();
    PoolConfig {
        python,
        launcher: env!("CARGO_BIN_EXE_vigor").into(),
        workers,
        policy: Policy::BestEffort,
        ..PoolConfig::default()
    }
}

/// One pool for all tests of this file: that it survives them together is a test of its own.
fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| Pool::new(config(2)).expect("python3 and the vigor binary"))
}

fn request(code: &str, tests: &[&str]) -> ExecRequest {
    ExecRequest {
        code: code.to_owned(),
        tests: tests.iter().map(|test| (*test).into()).collect(),
        limits: Limits { wall_test_seconds: 2.0, wall_total_seconds: 20.0, ..Limits::default() },
        keep_going: true,
        ..ExecRequest::default()
    }
}

fn run(code: &str, tests: &[&str]) -> ExecReport {
    let report = pool().execute(&request(code, tests)).expect("a report");
    assert_eq!(report.tests.len(), tests.len());
    report
}

/// The record of the only test, as `kind` or `kind: message`.
fn verdict(code: &str, test: &str) -> String {
    let record = run(code, &[test]).tests[0].verdict.record();
    if record.message.is_empty() { record.kind } else { format!("{}: {}", record.kind, record.message) }
}

#[test]
fn each_kind_of_verdict() {
    let double = "def f(x):\n    return x * 2\n";
    assert_eq!(verdict(double, "assert f(2) == 4"), "passed");
    assert_eq!(verdict(double, "assert f(2) == 5"), "failed: got 4, expected 5");
    assert_eq!(verdict(double, "assert f(2) > 5, 'too small'"), "failed: too small");
    assert_eq!(verdict(double, "def check(g):\n    assert g(1) == 3\ncheck(f)"), "failed: got 2, expected 3");
    assert_eq!(verdict(double, "def check(g):\n    x = g(1)\n    assert x == 3\ncheck(f)"), "failed");
    assert_eq!(
        verdict("def f(x):\n    y = 1\n    return y / x\n", "assert f(0) == 4"),
        "exception: ZeroDivisionError: division by zero (line 3)"
    );
    assert_eq!(verdict("def f(x):\n    assert x > 5\n", "f(1)"), "exception: AssertionError (line 2)");
    assert_eq!(verdict(double, "assert g(2) == 4"), "exception: NameError: name 'g' is not defined");
    assert_eq!(verdict("def f(x:\n    pass\n", "f(1)").split(':').next(), Some("syntax_error"));
    assert_eq!(verdict("def f(x):\n    while True: pass\n", "f(1)"), "timeout");
    assert_eq!(verdict("def f(x):\n    return bytearray(1 << 30)\n", "f(1)"), "memory");
    assert_eq!(verdict("def f(x):\n    while True: print('x' * 10**6)\n", "f(1)"), "output");
    assert_eq!(verdict(double, "assert (").split(':').next(), Some("harness_error"));
    assert_eq!(
        verdict("import ctypes\ndef f(x):\n    ctypes.string_at(1)\n", "f(1)"),
        "killed: signal 11",
        "a crash in C code"
    );
}

#[test]
fn the_program_itself_fails() {
    let report = run("x = 1\nraise KeyError('a')\n", &["pass", "pass"]);
    for test in &report.tests {
        let expected = Verdict::Exception { kind: "KeyError".into(), message: "'a'".into(), line: 2 };
        assert_eq!(test.verdict, expected);
    }
    let started = Instant::now();
    let report = run("while True: pass\n", &["pass"; 50]);
    assert!(report.tests.iter().all(|test| test.verdict == Verdict::Timeout));
    assert!(started.elapsed().as_secs_f64() < 8.0, "a program that hangs is not tried again for every test");
}

#[test]
fn leaving_early_is_not_passing() {
    assert_eq!(
        verdict("import sys\ndef f(x):\n    sys.exit(0)\n", "assert f(2) == 4"),
        "exception: SystemExit: 0 (line 3)"
    );
    assert_eq!(verdict("raise SystemExit\n", "assert f(2) == 4"), "exception: SystemExit (line 1)");
    assert_eq!(
        verdict("import os\ndef f(x):\n    os._exit(0)\n", "assert f(2) == 4"),
        "forbidden: ended its process without an answer (exit status 0)"
    );
}

#[test]
fn a_forged_answer_is_not_believed() {
    let forged = r#"
import os
def f(x):
    answer = b'{"record":"test","verdict":{"verdict":"passed"}}'
    for fd in range(3, 32):
        try:
            os.write(fd, b'0' * 32 + b'%08x' % len(answer) + answer)
        except OSError:
            pass
    os._exit(0)
"#;
    assert_eq!(verdict(forged, "assert f(2) == 4"), "forbidden: wrote to the harness's pipe");
    // Written beside the true answer it spoils it.
    let beside = forged.replace("os._exit(0)", "return 4");
    assert_eq!(verdict(&beside, "assert f(2) == 4"), "forbidden: wrote to the harness's pipe");
    let patched = "
import builtins, os, sys, json
builtins.AssertionError = type('X', (BaseException,), {})
for name in ('len', 'repr', 'type', 'isinstance', 'print', '__import__', 'str', 'bytes'):
    setattr(builtins, name, None)
os.write = os._exit = lambda *a: None
json.dumps = lambda *a: '{}'
sys.settrace = None
def f(x):
    return x
";
    assert_eq!(verdict(patched, "assert f(2) == 4"), "failed: got 2, expected 4");
}

#[test]
fn the_programs_own_methods_are_not_run() {
    let code = "
class Space(dict):
    def keys(self):
        while True: pass
    __iter__ = items = keys
class Meta(type):
    def __prepare__(name, bases):
        return Space()
    def __new__(cls, name, bases, space):
        return type.__new__(cls, name, bases, {})
class E(Exception):
    def __str__(self):
        while True: pass
    __repr__ = __str__
class V:
    def __repr__(self):
        while True: pass
    def __eq__(self, other):
        return False
def f(x):
    if x: raise E(V())
    class W(metaclass=Meta): pass
    return V()
";
    let mut request = request(code, &["f(1)", "assert f(0) == 1"]);
    request.trace = Some(TraceCaps::default());
    let report = pool().execute(&request).unwrap();
    assert_eq!(report.tests[0].verdict.record().message, "E: <V> (line 21)");
    assert_eq!(report.tests[1].verdict.record().message, "got <V>, expected 1");
}

#[test]
fn nothing_outside_is_reached() {
    let denied = |code: &str| {
        let code: String = code.lines().map(|line| format!("    {line}\n")).collect();
        let said = verdict(&format!("def f():\n{code}"), "f()");
        assert!(said.starts_with("forbidden: ") || said.starts_with("exception: "), "{code}: {said}");
        said
    };
    let mark = std::env::temp_dir().join(format!("vigor-sandbox-{}", std::process::id()));
    let path = mark.display();
    denied(&format!("open({path:?}, 'w').write('x')", path = path.to_string()));
    denied(&format!("import os\nos.mkdir({path:?})", path = path.to_string()));
    assert!(!mark.exists());
    std::fs::write(&mark, "secret").unwrap();
    if Capability::NoReads.held_by(pool().layers()) {
        denied(&format!("open({path:?}).read()", path = path.to_string()));
        denied("open('/etc/passwd').read()");
        denied("open('/proc/self/environ').read()");
    }
    denied(&format!("import os\nos.remove({path:?})", path = path.to_string()));
    assert_eq!(std::fs::read_to_string(&mark).unwrap(), "secret");
    std::fs::remove_file(&mark).unwrap();
    denied("import socket\nsocket.create_connection(('127.0.0.1', 9), 1)");
    denied("import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))");
    denied("import subprocess\nsubprocess.run(['/bin/true'])");
    denied("import os\nos.execv('/bin/true', ['true'])");
    denied("import os\nos.kill(1, 9)");
    denied("import os\nos.kill(os.getppid(), 9)");
    denied("import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))");
    denied("input()");
    let fork_bomb =
        "import os\ndef f():\n    while True:\n        try: os.fork()\n        except OSError: pass\n";
    assert_eq!(verdict(fork_bomb, "f()"), "timeout");
    let environment = "import os\ndef f():\n    return sorted(os.environ)\n";
    assert_eq!(verdict(environment, "assert f() == ['LC_ALL', 'PYTHONHASHSEED']"), "passed");
}

#[test]
fn useful_things_still_work() {
    let code = "
import asyncio, collections, dataclasses, threading, time
from typing import NamedTuple
@dataclasses.dataclass
class P:
    x: 'int'
class N(NamedTuple):
    a: int
def f():
    found = []
    thread = threading.Thread(target=lambda: found.append(P(1).x))
    thread.start()
    thread.join()
    async def main():
        await asyncio.sleep(0)
        return found[0]
    return asyncio.run(main()), N(2).a, time.time() > 0
";
    assert_eq!(verdict(code, "assert f() == (1, 2, True)"), "passed");
}

#[test]
fn a_test_that_kills_its_process_costs_only_itself() {
    let code = "
import os, ctypes
count = 0
def f(x):
    global count
    count += 1
    if x == 1: os._exit(0)
    if x == 2:
        while True: pass
    if x == 3: ctypes.string_at(1)
    return count
";
    let tests = ["assert f(0) == 1", "f(1)", "assert f(0) == 1", "f(2)", "f(3)", "assert f(0) == 1"];
    let kinds = |report: &ExecReport| -> Vec<String> {
        report.tests.iter().map(|test| test.verdict.record().kind).collect()
    };
    let report = run(code, &tests);
    assert_eq!(kinds(&report), ["passed", "forbidden", "passed", "timeout", "killed", "passed"]);
    assert_eq!(report.passed(), 3);
    let mut request = request(code, &tests);
    request.keep_going = false;
    assert_eq!(kinds(&pool().execute(&request).unwrap()), ["passed", "forbidden"]);
}

#[test]
fn the_total_time_is_kept() {
    let mut request = request("import time\ndef f():\n    time.sleep(0.4)\n", &["f()"; 10]);
    request.limits.wall_total_seconds = 1.0;
    let started = Instant::now();
    let report = pool().execute(&request).unwrap();
    assert!(started.elapsed().as_secs_f64() < 3.0);
    assert_eq!(report.tests.len(), 10);
    assert_eq!(report.tests[9].verdict, Verdict::Timeout);
    let mut busy = self::request("def f():\n    while True: pass\n", &["f()"]);
    busy.limits = Limits { wall_test_seconds: 20.0, cpu_seconds: 1, ..Limits::default() };
    let report = pool().execute(&busy).unwrap();
    assert_eq!(report.tests[0].verdict, Verdict::Timeout);
    assert!(report.seconds < 10.0, "the limit on CPU time comes first: {}", report.seconds);
}

#[test]
fn output_is_kept_up_to_its_limit() {
    let mut request = request("def f():\n    print('a' * 1000 + 'é\\x1b' + 'end')\n", &["f()", "f()"]);
    assert!(pool().execute(&request).unwrap().output_tail.ends_with("aé\u{1b}end\n"));
    request.limits.output_bytes = 5;
    let report = pool().execute(&request).unwrap();
    assert_eq!(report.output_tail, "\u{1b}end\n");
    assert_eq!(report.passed(), 2);
}

#[test]
fn a_trace_tells_what_happened() {
    let code = "LIMIT = 3\ndef g(n):\n    if n > LIMIT:\n        raise ValueError('big')\n    return n + 1\n\ndef f(n):\n    total = [n]\n    for i in range(2):\n        total.append(g(i))\n    try:\n        g(9)\n    except ValueError:\n        total = None\n    return total\n";
    let mut request = request(code, &["assert f(1) == 0"]);
    request.trace = Some(TraceCaps::default());
    let report = pool().execute(&request).unwrap();
    let trace = report.tests[0].trace.as_ref().expect("a trace");
    assert!(!trace.capped);
    let told: Vec<String> = trace
        .events
        .iter()
        .map(|event| {
            let locals: Vec<String> = event
                .locals
                .iter()
                .map(|l| format!("{}:{}={}", l.name, l.kind, l.value.as_deref().unwrap_or("-")))
                .collect();
            let kind = match event.kind {
                EventKind::Call => format!("call {}", event.function),
                EventKind::Line => "line".to_owned(),
                EventKind::Return => format!("return {}", event.value.as_deref().unwrap_or("-")),
                EventKind::Exception => format!("exception {}", event.value.as_deref().unwrap_or("-")),
            };
            format!("{} {kind} @{} [{}]", event.depth, event.line, locals.join(" "))
        })
        .collect();
    let expected = [
        "1 call f @7 [n:int=1]",
        "1 line @8 []",
        "1 line @9 [total:list=[1]]",
        "1 line @10 [i:int=0]",
        "2 call g @2 [n:int=0]",
        "2 line @3 []",
        "2 line @5 []",
        "2 return 1 @5 []",
        "1 line @9 [total:list=[1, 1]]",
        "1 line @10 [i:int=1]",
        "2 call g @2 [n:int=1]",
        "2 line @3 []",
        "2 line @5 []",
        "2 return 2 @5 []",
        "1 line @9 [total:list=[1, 1, 2]]",
        "1 line @11 []",
        "1 line @12 []",
        "2 call g @2 [n:int=9]",
        "2 line @3 []",
        "2 line @4 []",
        "2 exception ValueError: big @4 []",
        "1 exception ValueError: big @12 []",
        "1 line @13 []",
        "1 line @14 []",
        "1 line @15 [total:NoneType=None]",
        "1 return None @15 []",
    ];
    assert_eq!(told, expected);
}

#[test]
fn caps_on_a_trace_hold() {
    let code = "def f():\n    x = 0\n    while x < 100000:\n        x += 1\n    return x\n";
    let mut request = request(code, &["assert f() == 100000"]);
    for caps in [
        TraceCaps { max_events: 20, ..TraceCaps::default() },
        TraceCaps { max_total_bytes: 1500, ..TraceCaps::default() },
    ] {
        request.trace = Some(caps);
        let report = pool().execute(&request).unwrap();
        let trace = report.tests[0].trace.as_ref().unwrap();
        assert!(report.tests[0].verdict.passed() && trace.capped);
        assert!(trace.events.len() <= 25, "{}", trace.events.len());
    }
    request.code = "def f():\n    text = 'ab' * 10**6\n    return [text] * 3\n".to_owned();
    request.tests = vec!["f()".into()];
    request.trace = Some(TraceCaps { max_value_bytes: 10, ..TraceCaps::default() });
    let report = pool().execute(&request).unwrap();
    let last = report.tests[0].trace.as_ref().unwrap().events.last().unwrap();
    assert_eq!(last.value.as_deref(), Some("['abababab…"));
}

#[test]
fn equal_requests_give_equal_reports() {
    let code = "
import random
class A: pass
def f():
    items = {A() for _ in range(20)}
    names = {'b', 'a', 'c', 'd'}
    text = f'{A()} {f}'
    raise ValueError(text, random.random(), list(names))
";
    let mut request = request(code, &["f()", "f()"]);
    request.trace = Some(TraceCaps::default());
    let first = pool().execute(&request).unwrap();
    let again = Pool::new(config(1)).unwrap().execute(&request).unwrap();
    assert_eq!(first.tests[0], first.tests[1]);
    assert_eq!(first.tests, again.tests);
    assert!(first.tests[0].verdict.record().message.contains("<solution.A object>"), "{first:?}");
}

#[test]
fn many_threads_share_a_pool() {
    let requests: Vec<ExecRequest> = (0..24)
        .map(|n| request(&format!("def f():\n    return {n}\n"), &[&format!("assert f() == {}", n / 2 * 2)]))
        .collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let reports = pool().execute_all(&requests).unwrap();
                for (n, report) in reports.iter().enumerate() {
                    assert_eq!(report.tests[0].verdict.passed(), n % 2 == 0, "{n}: {report:?}");
                }
            });
        }
    });
}

#[test]
fn the_compiler_classifies_sources() {
    let cases = [
        ("", "complete"),
        ("x = 1", "complete"),
        ("def f(x):\n    return x\n", "complete"),
        ("def f(x):\n", "incomplete"),
        ("def f(x):\n    if x:\n", "incomplete"),
        ("def f(x):\n    y = [1,\n", "incomplete"),
        ("x = '''abc\n", "incomplete"),
        ("try:\n    x = 1\n", "incomplete"),
        ("@cache\n", "incomplete"),
        ("x = 1 + \\\n", "incomplete"),
        ("def f(x):\n    return x +\n", "invalid"),
        ("def f(x):\n  return 1\n return 2\n", "invalid"),
        ("print 'x'\n", "invalid"),
        ("x = (1]\n", "invalid"),
        ("x = 'abc\n", "invalid"),
        ("x = \0", "invalid"),
    ];
    let mut sources: Vec<String> = cases.iter().map(|(source, _)| source.to_string()).collect();
    // What can cost the compiler its life costs only itself.
    sources.push("(".repeat(100_000));
    sources.push(format!("x = {}1\n", "-".repeat(200_000)));
    sources.push("#".repeat(2 << 20));
    sources.push("x = 1\n".to_owned());
    let gates = pool().classify(&sources).unwrap();
    let names: Vec<&str> = gates
        .iter()
        .map(|gate| match gate {
            Gate::Complete => "complete",
            Gate::Incomplete => "incomplete",
            Gate::Invalid { .. } => "invalid",
        })
        .collect();
    for ((source, expected), found) in cases.iter().zip(&names) {
        assert_eq!(found, expected, "{source:?}");
    }
    assert_eq!(names[cases.len()..], ["invalid", "invalid", "invalid", "complete"]);
    assert!(pool().classify(&[]).unwrap().is_empty());
}

#[test]
fn what_holds_is_reported() {
    let layers = pool().layers();
    let missing = Capability::missing(layers);
    for bound in [Capability::BoundedMemory, Capability::BoundedCpu, Capability::BoundedTime] {
        assert!(bound.held_by(layers), "{layers:#?}");
    }
    // A strict pool starts exactly where nothing is missing.
    match Pool::new(PoolConfig { policy: Policy::Strict, ..config(1) }) {
        Ok(_) => assert!(missing.is_empty(), "{layers:#?}"),
        Err(SandboxError::TooWeak { missing: named }) => assert!(!missing.is_empty(), "{named}"),
        Err(other) => panic!("{other}"),
    }
    let off = Pool::new(PoolConfig { policy: Policy::Off, ..config(1) }).unwrap();
    assert!(off.layers().iter().all(|layer| !layer.active || ["limits", "deadline"].contains(&&*layer.name)));
    assert_eq!(off.execute(&request("x = 1\n", &["assert x == 1"])).unwrap().passed(), 1);
}

#[test]
fn what_is_missing_is_said_with_its_remedy() {
    let error =
        Pool::new(PoolConfig { python: "no-such-python".into(), ..config(1) }).unwrap_err().to_string();
    assert!(error.contains("no-such-python") && error.contains("install Python 3.9"), "{error}");
    let error =
        Pool::new(PoolConfig { launcher: "/no/such/vigor".into(), ..config(1) }).unwrap_err().to_string();
    assert!(error.contains("/no/such/vigor"), "{error}");
}
