//! A set of hostile programs that lives outside of the project. Each gets the verdict that its index expects, twice in
//! a row, and leaves the pool and the host as they were.

mod host;

use std::fs;
use std::path::Path;

use host::Targets;
use host::cases::{Case, run};
use vigor::sandbox::{ExecRequest, Limits, TraceCaps, Verdict};

/// Where the index allows a forged pass, or expects a crash by a signal that is refused here: every verdict that is no
/// pass is as good.
const STRICTER: [&str; 2] = ["35_forge_result_gc_nonce.py", "64_faulthandler_sigsegv.py"];

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

#[test]
fn every_hostile_program_gets_its_verdict() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/adversarial");
    let Ok(index) = fs::read_to_string(folder.join("INDEX.tsv")) else {
        println!("skipped: there is no set of hostile programs at {}", folder.display());
        return;
    };
    let mut cases = Vec::new();
    for line in index.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [file, wanted, ..] = fields[..] else { continue };
        let Ok(bytes) = fs::read(folder.join(file)) else { continue };
        let (code, test) = split(&String::from_utf8_lossy(&bytes));
        let request = ExecRequest {
            code,
            tests: vec![test.into()],
            trace: Some(TraceCaps::default()),
            limits: Limits { wall_test_seconds: 3.0, wall_total_seconds: 6.0, ..Limits::default() },
            ..ExecRequest::default()
        };
        let stricter = STRICTER.contains(&file);
        let wanted = wanted.to_owned();
        cases.push(Case {
            name: file.to_owned(),
            request,
            wanted: wanted.clone(),
            met: Box::new(move |verdicts| {
                verdicts.len() == 1 && (expected(&verdicts[0], &wanted) || stricter && !verdicts[0].passed())
            }),
            varies: false,
        });
    }
    assert!(!cases.is_empty(), "the index names no program");
    let findings = run(&cases, &Targets::new());
    println!("{} programs, {} findings", cases.len(), findings.len());
    for path in ["/tmp/adv_written", "/tmp/adv_exec", "/dev/shm/fill"] {
        assert!(!Path::new(path).exists(), "{path} was written");
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}
