//! A set of hostile programs that lives outside of the project. Each must come back with a verdict in time, and
//! leave the pool as it was; none that is expected not to pass may pass.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use vigor::sandbox::{ExecRequest, Limits, Pool, PoolConfig, TraceCaps, Verdict};

/// Where forged passes are known to be possible; a stricter verdict is welcome.
const KNOWN_LIMITS: [&str; 1] = ["35_forge_result_gc_nonce.py"];

/// Whether a verdict is among the expected ones, `|`-separated in the index's own words.
fn expected(verdict: &Verdict, expected: &str) -> bool {
    expected.split('|').any(|one| match one {
        "PASS" | "PASS+tampered" | "PASS(forged)" => verdict.passed(),
        "TIMEOUT" => *verdict == Verdict::Timeout,
        "LIMIT" => *verdict == Verdict::Output,
        "SYNTAX" => matches!(verdict, Verdict::SyntaxError { .. }),
        "CRASH" => matches!(verdict, Verdict::Killed { .. }),
        "TAMPER" => matches!(verdict, Verdict::Forbidden { .. }),
        fail => match (fail.strip_prefix("FAIL:"), verdict) {
            (Some("*"), verdict) => !verdict.passed(),
            (Some("AssertionError"), Verdict::Failed { .. }) => true,
            (Some("MemoryError"), Verdict::Memory) => true,
            (Some("SyntaxError"), Verdict::SyntaxError { .. }) => true,
            (Some(name), Verdict::Forbidden { message }) => message.starts_with(name),
            (Some(name), Verdict::Exception { kind, .. }) => {
                kind == name
                    || (name == "OSError"
                        && ["BlockingIOError", "UnsupportedOperation"].contains(&kind.as_str()))
            }
            _ => false,
        },
    })
}

/// The program, and the assertion on its last line: the test. Some programs are meant never to reach it.
fn split(source: &str) -> (String, String) {
    const TEST: &str = "assert f(2) == 4";
    (source.trim_end().strip_suffix(TEST).unwrap_or(source).to_owned(), TEST.to_owned())
}

fn control(pool: &Pool) -> bool {
    let request = ExecRequest {
        code: "def f(x):\n    return x * x\n".to_owned(),
        tests: vec!["assert f(2) == 4".to_owned()],
        ..ExecRequest::default()
    };
    pool.execute(&request).is_ok_and(|report| report.passed() == 1)
}

#[test]
fn every_hostile_program_gets_its_verdict() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/adversarial");
    let Ok(index) = fs::read_to_string(folder.join("INDEX.tsv")) else {
        println!("skipped: there is no set of hostile programs at {}", folder.display());
        return;
    };
    let pool = Pool::new(PoolConfig {
        launcher: PathBuf::from(env!("CARGO_BIN_EXE_vigor")),
        workers: 1,
        ..PoolConfig::default()
    })
    .expect("a pool");
    let (mut right, mut total) = (0, 0);
    let mut wrong = Vec::new();
    let mut passed_wrongly = Vec::new();
    for line in index.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [file, wanted, ..] = fields[..] else { continue };
        let Ok(bytes) = fs::read(folder.join(file)) else { continue };
        let (code, test) = split(&String::from_utf8_lossy(&bytes));
        let request = ExecRequest {
            code,
            tests: vec![test],
            trace: Some(TraceCaps::default()),
            limits: Limits { wall_test_seconds: 3.0, wall_total_seconds: 6.0, ..Limits::default() },
            ..ExecRequest::default()
        };
        let started = Instant::now();
        let report = pool.execute(&request).expect("a report");
        let seconds = started.elapsed().as_secs_f64();
        assert!(seconds < 6.0 + 5.0, "{file}: a verdict after {seconds} s");
        assert!(control(&pool), "{file}: the pool is not as before");
        let verdict = &report.tests[0].verdict;
        total += 1;
        if expected(verdict, wanted) {
            right += 1;
        } else {
            wrong.push(format!("{file}: {verdict:?}, expected {wanted}"));
        }
        if verdict.passed() && !wanted.contains("PASS") && !KNOWN_LIMITS.contains(&file) {
            passed_wrongly.push(file.to_owned());
        }
    }
    println!("{right} of {total} as expected");
    for line in &wrong {
        println!("  {line}");
    }
    assert!(passed_wrongly.is_empty(), "passed, and should not have: {passed_wrongly:?}");
    for path in ["/tmp/adv_written", "/tmp/adv_exec", "/dev/shm/fill"] {
        assert!(!Path::new(path).exists(), "{path} was written");
    }
    assert!(total > 0 && right * 100 >= total * 95, "{right} of {total}: {wrong:#?}");
}
