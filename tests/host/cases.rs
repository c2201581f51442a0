//! Hostile programs, run twice in a row on a pool of one worker, with a look at the pool and at the host after each.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use vigor::sandbox::{ExecReport, ExecRequest, Pool, PoolConfig, TestOutcome, Verdict};

use super::{Holdings, Snapshot, Targets, descendants, resident};

/// Whether the verdicts of all tests are what was expected.
pub type Expectation = Box<dyn Fn(&[Verdict]) -> bool>;

/// A program, and what should come of it.
pub struct Case {
    pub name: String,
    pub request: ExecRequest,
    /// For messages.
    pub wanted: String,
    /// Whether the verdicts are as wanted.
    pub met: Expectation,
    /// What comes of it can differ between two runs, but for being among what is wanted.
    pub varies: bool,
}

/// Bytes that this process, and the worker, may gain over all programs.
const GROWTH: u64 = 64 << 20;

/// `VIGOR_TEST_PYTHON` chooses another interpreter than `python3`.
pub fn config() -> PoolConfig {
    let python = std::env::var_os("VIGOR_TEST_PYTHON").unwrap_or("python3".into()).into();
    PoolConfig { python, launcher: env!("CARGO_BIN_EXE_vigor").into(), workers: 1, ..PoolConfig::default() }
}

/// Runs all cases, and says what was not as it should be.
pub fn run(cases: &[Case], targets: &Targets) -> Vec<String> {
    let library = library();
    let before = Snapshot::take(Some(&library));
    let pool = Pool::new(config()).expect("a pool");
    assert!(control(&pool), "the pool does not even run a plain program");
    // Each worker forks a child for the next request.
    std::thread::sleep(Duration::from_millis(500));
    let worker = Holdings::now();
    let memory = || descendants().keys().map(|pid| resident(*pid)).max().unwrap_or(0);
    let memory_before = memory();
    let mut findings = Vec::new();
    for case in cases {
        let mut reports = Vec::new();
        for _ in 0..2 {
            let started = Instant::now();
            let report = pool.execute(&case.request).expect("a report");
            let seconds = started.elapsed().as_secs_f64();
            if seconds > case.request.limits.wall_total_seconds + 5.0 {
                findings.push(format!("{}: a verdict after {seconds:.1} s", case.name));
            }
            if !control(&pool) {
                findings.push(format!("{}: the pool is not as before", case.name));
            }
            let now = worker.settle();
            if now != worker {
                findings.push(format!("{}: {now:?} is left, was {worker:?}: {:?}", case.name, descendants()));
            }
            findings.extend(targets.touched().into_iter().map(|what| format!("{}: {what}", case.name)));
            reports.push(report);
        }
        findings.extend(complaint(case, &reports));
    }
    if memory() > memory_before + GROWTH {
        findings.push(format!("a worker of {} bytes, was {memory_before}", memory()));
    }
    drop(pool);
    findings.extend(before.changes(GROWTH));
    findings
}

fn complaint(case: &Case, reports: &[ExecReport]) -> Option<String> {
    let verdicts = |report: &ExecReport| -> Vec<Verdict> {
        report.tests.iter().map(|test| test.verdict.clone()).collect()
    };
    let texts = |report: &ExecReport| -> Vec<String> {
        let text = |test: &TestOutcome| {
            let record = test.verdict.record();
            format!("{}: {}", record.kind, record.message)
        };
        report.tests.iter().map(text).collect()
    };
    let (first, second) = (&reports[0], &reports[1]);
    if !(case.met)(&verdicts(first)) || !(case.met)(&verdicts(second)) {
        return Some(format!(
            "{}: {:?} and {:?}, expected {}",
            case.name,
            texts(first),
            texts(second),
            case.wanted
        ));
    }
    if !case.varies && first.tests != second.tests {
        return Some(format!("{}: two runs differ: {:?} and {:?}", case.name, first.tests, second.tests));
    }
    None
}

/// Whether the pool still tells a right program from a wrong one.
fn control(pool: &Pool) -> bool {
    let request = ExecRequest {
        code: "def f(x):\n    return x * x\n".to_owned(),
        tests: vec!["assert f(2) == 4".into(), "assert f(2) == 5".into()],
        keep_going: true,
        ..ExecRequest::default()
    };
    let Ok(report) = pool.execute(&request) else { return false };
    report.tests.len() == 2
        && report.tests[0].verdict.passed()
        && matches!(report.tests[1].verdict, Verdict::Failed { .. })
}

/// Folder of Python's standard library.
fn library() -> PathBuf {
    let output = Command::new(config().python)
        .args(["-I", "-c", "import os; print(os.path.dirname(os.path.realpath(os.__file__)))"])
        .output()
        .expect("python3");
    Path::new(String::from_utf8_lossy(&output.stdout).trim()).to_owned()
}
