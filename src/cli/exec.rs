//! `vigor exec`: one program in the sandbox, and what came of it.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use vigor::sandbox::{
    EventKind, ExecReport, ExecRequest, ExecTest, Limits, Pool, PoolConfig, Trace, TraceCaps, TraceEvent,
    Verdict,
};
use vigor::syntax::{Lexer, LogicalLine};

use super::common::{Isolation, seconds};
use super::exit::{BAD_INPUT, FAILURE, Failure};
use super::say::say;

/// Run a Python file in the sandbox, and say what happened.
#[derive(Args)]
#[command(after_help = "Examples:
  vigor exec program.py
  vigor exec program.py --trace --time 1 --memory 128
  vigor exec solution.py --test 'assert add(1, 2) == 3' --test 'assert add(0, 0) == 0'
  echo 'while True: pass' | vigor exec - --time 0.5 --json

The assert statements at the end of the file are its own test: they run after it, and are judged outside of its
process wherever they can be, as those of --test are.

The exit code tells the verdict, of the first test that does not pass: 0 passed, 20 failed (an assertion of the test),
21 exception, 22 timeout, 23 memory, 24 output (too much), 25 killed by a signal, 26 forbidden, 27 syntax error,
28 harness error.")]
pub struct Exec {
    /// The program; `-` reads it from standard input.
    file: PathBuf,
    /// A test: Python statements that run after the program, in its namespace; can be given several times.
    #[arg(long, value_name = "PYTHON")]
    test: Vec<String>,
    /// Show what its functions did: calls, lines with the variables that changed, returns, exceptions.
    #[arg(long)]
    trace: bool,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    /// Seconds for the program, and again for each test.
    #[arg(long, value_name = "S", default_value = "5", value_parser = seconds)]
    time: f64,
    /// Memory in MiB, the interpreter's own 30 included.
    #[arg(long, value_name = "MB", default_value_t = Limits::default().memory_mb)]
    memory: u64,
    /// Python interpreter, version 3.9 or later.
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// Let it write files, of so many MiB in all, in a folder of its own that is gone afterwards.
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u64).range(1..=65_536))]
    scratch: Option<u64>,
    /// Import a module ahead of time, and let it import any package of the interpreter; can be given several times.
    #[arg(long, value_name = "MODULE")]
    preload: Vec<String>,
    #[command(flatten)]
    isolation: Isolation,
}

/// Returns the exit code that tells the verdict.
pub fn exec(args: &Exec) -> Result<u8, Failure> {
    let (code, own) = cut(read(args)?);
    let pool = Pool::new(PoolConfig {
        python: args.python.clone(),
        workers: 1,
        policy: args.isolation.policy(),
        scratch_mb: args.scratch,
        preload: args.preload.clone(),
        ..PoolConfig::default()
    })?;
    let mut tests: Vec<String> = own.into_iter().chain(args.test.clone()).collect();
    if tests.is_empty() {
        // The program alone decides.
        tests.push("pass".to_owned());
    }
    let named = tests.len() - args.test.len();
    let limits = Limits {
        wall_test_seconds: args.time,
        wall_total_seconds: 2.0 * args.time * tests.len() as f64,
        cpu_seconds: (2.0 * args.time * tests.len() as f64).ceil() as u64,
        memory_mb: args.memory,
        ..Limits::default()
    };
    let request = ExecRequest {
        code,
        tests: tests.into_iter().map(ExecTest::from).collect(),
        trace: args.trace.then(TraceCaps::default),
        limits,
        keep_going: true,
        ..ExecRequest::default()
    };
    let report = pool.execute(&request)?;
    if args.json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| Failure::new(FAILURE, error))?;
        say!("{text}");
    } else {
        say!("{}", text_of(&report, &args.test, named));
    }
    let not_passed = report.tests.iter().find(|test| !test.verdict.passed());
    Ok(not_passed.map_or(0, |test| code_of(&test.verdict)))
}

/// Cuts the `assert` statements at the end of a file off: its own test. The rest is the program.
fn cut(mut code: String) -> (String, Option<String>) {
    let mut lexer = Lexer::new();
    lexer.feed(&code);
    let is_assert = |line: &&LogicalLine| {
        let word = code.get(line.text_start..line.end).and_then(|text| text.strip_prefix("assert"));
        line.indent.columns == 0
            && word.is_some_and(|rest| rest.starts_with([' ', '\t', '(', '"', '\'', '[', '{']))
    };
    let first = lexer.lines().iter().rev().take_while(is_assert).last().map(|line| line.start);
    match first {
        Some(first) if lexer.error().is_none() && lexer.depth() == 0 => {
            let test = code.split_off(first);
            (code, Some(test))
        }
        _ => (code, None),
    }
}

fn read(args: &Exec) -> Result<String, Failure> {
    let path = args.file.display();
    let wrong = |error: std::io::Error| Failure::message(BAD_INPUT, format!("{path}: {error}"));
    if args.file.as_os_str() != "-" {
        return std::fs::read_to_string(&args.file).map_err(wrong);
    }
    let mut code = String::new();
    std::io::stdin().read_to_string(&mut code).map_err(wrong)?;
    Ok(code)
}

/// The exit code of a verdict.
fn code_of(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Passed => 0,
        Verdict::Failed { .. } => 20,
        Verdict::Exception { .. } => 21,
        Verdict::Timeout => 22,
        Verdict::Memory => 23,
        Verdict::Output => 24,
        Verdict::Killed { .. } => 25,
        Verdict::Forbidden { .. } => 26,
        Verdict::SyntaxError { .. } => 27,
        Verdict::HarnessError { .. } => 28,
    }
}

/// `tests` are those of the command line; `before` stand before them, without a name.
fn text_of(report: &ExecReport, tests: &[String], before: usize) -> String {
    let mut text = String::new();
    for (number, outcome) in report.tests.iter().enumerate() {
        let record = outcome.verdict.record();
        if let Some(test) = number.checked_sub(before).and_then(|number| tests.get(number)) {
            text += &format!("{}\n", printable(test));
        }
        text += &record.kind;
        if !record.message.is_empty() {
            text += &format!(": {}", record.message);
        }
        text.push('\n');
        if let Some(trace) = &outcome.trace {
            text += &trace_text(trace);
        }
    }
    text += &format!("{:.3} s", report.seconds);
    if !report.output_tail.is_empty() {
        text += &format!("\n\noutput:\n{}", printable(report.output_tail.trim_end_matches('\n')));
    }
    text
}

fn trace_text(trace: &Trace) -> String {
    let mut text: String = trace.events.iter().map(event_text).collect();
    if trace.capped {
        text += "  … there was more\n";
    }
    text
}

/// A line an event: its kind, the line of the program, and deeper calls further to the right.
fn event_text(event: &TraceEvent) -> String {
    let locals: Vec<String> = event
        .locals
        .iter()
        .map(|local| match &local.value {
            Some(value) => format!("{} = {value}", local.name),
            None => format!("{} deleted", local.name),
        })
        .collect();
    let locals = locals.join(", ");
    let value = event.value.as_deref().unwrap_or_default();
    let (kind, what) = match event.kind {
        EventKind::Call => ("call", format!("{}({locals})", event.function)),
        EventKind::Line => ("line", locals),
        EventKind::Return => ("return", value.to_owned()),
        EventKind::Exception => ("exception", value.to_owned()),
    };
    let indent = 2 * event.depth.min(20) as usize;
    let line =
        format!("  {kind:<9} {:>4}  {:indent$}{}", event.line, "", printable(&what).replace('\n', " "));
    format!("{}\n", line.trim_end())
}

/// Without what could steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '·' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_brings_its_own_test() {
        let (code, test) = cut(String::from(
            "def f(x):\n    assert x\n    return x\n\nassert f(1) == 1\nassert(f(\n  2)) # two\n",
        ));
        assert_eq!(code, "def f(x):\n    assert x\n    return x\n\n");
        assert_eq!(test.as_deref(), Some("assert f(1) == 1\nassert(f(\n  2)) # two\n"));
        for code in ["assert_all()\n", "assert x\nx = 1\n", "if x:\n    assert x\n", "assert (\n", ""] {
            assert_eq!(cut(code.to_owned()), (code.to_owned(), None), "{code}");
        }
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\r\n\tc\u{9b}"), "a·[2Jb·\n\tc·");
    }
}
