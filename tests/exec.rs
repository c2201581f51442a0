//! `vigor exec` through the binary: every verdict with its exit code, the output, the trace.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs a program given on standard input.
fn exec(program: &str, arguments: &[&str]) -> (i32, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vigor"))
        .args(["exec", "-", "--allow-weaker-sandbox"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("vigor starts");
    child.stdin.take().expect("a pipe").write_all(program.as_bytes()).expect("it is read");
    let Output { status, stdout, .. } = child.wait_with_output().expect("it ends");
    (status.code().expect("an exit code"), String::from_utf8(stdout).expect("UTF-8"))
}

#[test]
fn the_exit_code_tells_the_verdict() {
    let flood = "while True: print('x' * 100000)";
    let cases: [(&str, &[&str], i32, &str); 10] = [
        ("x = 1", &[], 0, "passed"),
        ("def f(): return 1", &["--test", "assert f() == 2"], 20, "failed"),
        ("\n1 / 0", &[], 21, "exception: ZeroDivisionError: division by zero (line 2)"),
        ("while True: pass", &["--time", "0.3"], 22, "timeout"),
        ("x = bytearray(1 << 40)", &["--memory", "128"], 23, "memory"),
        (flood, &["--time", "20"], 24, "output"),
        ("import os; os.abort()", &[], 25, "killed: signal "),
        ("import os; os._exit(0)", &[], 26, "forbidden"),
        ("def f(:", &[], 27, "syntax_error"),
        ("raise SystemExit", &[], 21, "exception: SystemExit"),
    ];
    for (program, arguments, code, verdict) in cases {
        let (got, out) = exec(program, arguments);
        assert!(got == code && out.lines().any(|line| line.starts_with(verdict)), "{program}: {got}, {out}");
    }
}

#[test]
fn the_first_test_that_does_not_pass_decides() {
    let tests = ["--test", "assert f(2) == 4", "--test", "assert f(3) == 4", "--test", "f('')"];
    let (code, out) = exec("def f(x): return x ** 2\n", &tests);
    assert_eq!(code, 20, "{out}");
    let verdicts: Vec<&str> = out.lines().collect();
    assert_eq!(verdicts[..2], ["assert f(2) == 4", "passed"]);
    assert!(verdicts[2] == "assert f(3) == 4" && verdicts[3].starts_with("failed: "), "{out}");
    assert!(verdicts[5].starts_with("exception: TypeError"), "{out}");
}

#[test]
fn the_assertions_at_the_end_of_a_file_are_its_test() {
    let (code, out) = exec("def f(x):\n    return x\n\nassert f(1) == 1\nassert f(2) == 3\n", &[]);
    assert!(code == 20 && out.starts_with("failed: got 2, expected 3\n"), "{code}, {out}");
    // It leaves as a program does that has passed, and answers its own comparisons.
    let leaves = "import os\ndef f(x):\n    os._exit(0)\nassert f(1) == 1\n";
    assert_eq!(exec(leaves, &[]).0, 26);
    let answers =
        "class V:\n    def __eq__(self, other): return True\ndef f(x): return V()\nassert f(1) == 1\n";
    assert_eq!(exec(answers, &[]).0, 20);
    let (_, out) = exec("print(7)\nassert True\n", &["--json"]);
    assert!(out.contains("\"judge\": \"inside\""), "{out}");
}

#[test]
fn output_and_trace_are_shown_and_steer_no_terminal() {
    let program = "def f(n):\n    m = n + 1\n    return m\nprint('a\\x1b[2Jb', f(1))\n";
    let (code, out) = exec(program, &["--trace"]);
    assert_eq!(code, 0, "{out}");
    let traced: Vec<&str> = out.lines().skip(1).take_while(|line| line.starts_with("  ")).collect();
    assert!(traced.iter().any(|line| line.contains("call") && line.contains("f(n = 1)")), "{out}");
    assert!(traced.iter().any(|line| line.contains("line") && line.contains("m = 2")), "{out}");
    assert!(traced.iter().any(|line| line.contains("return") && line.ends_with('2')), "{out}");
    assert!(out.contains("output:\na·[2Jb 2"), "{out}");
}

#[test]
fn json_holds_the_report() {
    let (code, out) = exec("print(7)", &["--json", "--trace"]);
    assert_eq!(code, 0, "{out}");
    let report: vigor::sandbox::ExecReport = serde_json::from_str(&out).expect("a report");
    assert_eq!((report.passed(), report.output_tail.as_str()), (1, "7\n"));
}

#[test]
fn a_file_that_is_not_there_is_bad_input() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_vigor")).args(["exec", "nowhere.py"]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere.py"));
}
