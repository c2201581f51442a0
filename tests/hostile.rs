//! Hostile programs of our own, `tests/hostile/`: each gets its verdict, twice in a row, and the pool and the host are
//! as before. A program begins with lines of comment:
//!
//! - `# expect:` kinds of verdicts that are right, separated by `|`; `exception` may name the class; where it is
//!   repeated, one for each test
//! - `# why:` what it tries
//! - `# test:` a test, `\n` for a new line; may be repeated; `assert f(2) == 4` where there is none
//! - `# seconds:` wall-clock time of a test, 1 where there is none
//! - `# only:` the processor whose numbers and instructions it uses
//! - `# varies:` why two runs may differ in more than their kind
//!
//! Sources that no file can well hold are made in `tests/hostile/forms.rs`. What stands in
//! `tests/hostile/limits_of_one_interpreter/` is known not to be prevented; its verdict is printed, not judged.

#[path = "hostile/forms.rs"]
mod forms;
mod host;

use std::fs;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use host::cases::{Case, run};
use host::{Snapshot, Targets, crate_folder};
use vigor::sandbox::{ExecRequest, ExecTest, Limits, TraceCaps, Verdict};

const LIMITS_OF_ONE_INTERPRETER: &str = "limits_of_one_interpreter";

/// Whether a verdict is one of `expected`, kinds separated by `|`.
fn is_expected(verdict: &Verdict, expected: &str) -> bool {
    expected.split('|').map(str::trim).any(|one| match (one.split_once(' '), verdict) {
        (Some(("exception", class)), Verdict::Exception { kind, .. }) => kind == class,
        (Some(_), _) => false,
        (None, verdict) => verdict.record().kind == one,
    })
}

fn case(
    name: &str,
    code: String,
    tests: Vec<String>,
    seconds: f64,
    expected: Vec<String>,
    varies: bool,
) -> Case {
    let request = ExecRequest {
        code,
        tests: tests.into_iter().map(ExecTest::from).collect(),
        trace: Some(TraceCaps::default()),
        limits: Limits {
            wall_test_seconds: seconds,
            wall_total_seconds: 15.0,
            memory_mb: 256,
            ..Limits::default()
        },
        keep_going: true,
        ..ExecRequest::default()
    };
    let wanted = expected.join("; ");
    let count = request.tests.len();
    let met = move |verdicts: &[Verdict]| verdicts.len() == count && is_met(verdicts, &expected);
    Case { name: name.to_owned(), request, wanted, met: Box::new(met), varies }
}

/// One expectation for each test, or one for all of them.
fn is_met(verdicts: &[Verdict], expected: &[String]) -> bool {
    let of = |test: usize| &expected[test.min(expected.len() - 1)];
    verdicts.iter().enumerate().all(|(test, verdict)| is_expected(verdict, of(test)))
}

/// Reads one program; `None` where it is for another processor.
fn read(path: &Path, targets: &Targets) -> Option<Case> {
    let source = fs::read_to_string(path).expect("a program");
    let head = source.lines().take_while(|line| line.starts_with('#'));
    let fields: Vec<(&str, &str)> =
        head.clone().filter_map(|line| line.strip_prefix("# ")?.split_once(": ")).collect();
    let all = |name: &str| -> Vec<&str> {
        fields.iter().filter(|(key, _)| *key == name).map(|(_, value)| *value).collect()
    };
    let one = |name: &str| all(name).first().copied();
    if one("only").is_some_and(|machine| machine != std::env::consts::ARCH) {
        return None;
    }
    // A program should not find its expectation in its own source.
    let code: String = source.lines().skip(head.count()).map(|line| format!("{line}\n")).collect();
    let uses_helpers =
        ["system_call", "not_refused", "raise_errno", "REFUSED"].iter().any(|name| code.contains(name));
    let mut tests: Vec<String> = all("test").into_iter().map(|test| test.replace("\\n", "\n")).collect();
    if tests.is_empty() {
        tests.push("assert f(2) == 4".to_owned());
    }
    let name = path.strip_prefix(programs()).expect("it is inside").display().to_string();
    assert!(one("why").is_some(), "{name} does not say why");
    let expected: Vec<String> = all("expect").into_iter().map(str::to_owned).collect();
    assert!(!expected.is_empty(), "{name} expects nothing");
    let seconds = one("seconds").map_or(1.0, |text| text.parse().expect("a number"));
    let mut case = case(&name, code, tests, seconds, expected, one("varies").is_some());
    case.request.setup = targets.names();
    if uses_helpers {
        case.request.setup += include_str!("hostile/setup.py");
    }
    Some(case)
}

fn programs() -> PathBuf {
    crate_folder().join("tests/hostile")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

/// Both tests look at all processes of this one.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn what_a_program_could_do_to_the_host_is_noticed() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let noticed = |what: &str, found: Vec<String>| {
        assert!(found.len() == 1 && found[0].contains(what), "{what}: {found:?}");
    };
    let after = |what: &str, act: fn(&Targets)| {
        let targets = Targets::new();
        assert_eq!(targets.touched(), [""; 0]);
        act(&targets);
        noticed(what, targets.touched());
    };
    after("writable.txt", |targets| {
        fs::write(targets.folder().join("writable.txt"), "x").expect("it is ours")
    });
    after("empty/new", |targets| fs::write(targets.folder().join("empty/new"), "").expect("it is ours"));
    after("TCP", |targets| drop(TcpStream::connect(targets.tcp()).expect("somebody listens")));
    after("unix", |targets| {
        drop(UnixStream::connect(targets.folder().join("socket")).expect("somebody listens"))
    });

    let before = Snapshot::take(None);
    assert_eq!(before.changes(1 << 20), [""; 0]);
    let file = std::env::temp_dir().join(format!("vigor-hostile-{}", std::process::id()));
    fs::write(&file, "").expect("a file");
    noticed("new: ", before.changes(1 << 20));
    fs::remove_file(&file).expect("it is ours");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let found = before.changes(1 << 20);
    assert!(found.iter().any(|what| what.contains("socket udp")), "{found:?}");
    assert!(found.iter().any(|what| what.contains("descriptors")), "{found:?}");
    drop(socket);
    // A process whose parent is gone.
    let status = Command::new("sh").args(["-c", "sleep 60 > /dev/null 2>&1 &"]).status().expect("sh");
    assert!(status.success());
    let found = before.changes(1 << 20);
    noticed("is left", found.clone());
    let pid = found[0].split_whitespace().nth(1).expect("a number");
    assert!(Command::new("kill").args(["-9", pid]).status().expect("kill").success());
    let memory = vec![1u8; 64 << 20];
    noticed("bytes of memory", before.changes(16 << 20));
    assert_eq!(memory.iter().map(|byte| usize::from(*byte)).sum::<usize>(), 64 << 20);
}

#[test]
fn every_hostile_program_gets_its_verdict_and_the_host_is_untouched() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let targets = Targets::new();
    let mut cases = Vec::new();
    let mut known_limits = Vec::new();
    // A part of a name chooses some of the programs, to look at one of them.
    let chosen = std::env::var("VIGOR_TEST_PROGRAM").unwrap_or_default();
    for folder in entries(&programs()).into_iter().filter(|path| path.is_dir()) {
        let list = if folder.ends_with(LIMITS_OF_ONE_INTERPRETER) { &mut known_limits } else { &mut cases };
        list.extend(entries(&folder).iter().filter_map(|path| read(path, &targets)));
    }
    cases.extend(forms::forms().into_iter().map(|form| {
        case(
            &format!("forms/{}", form.name),
            form.code,
            vec![form.test],
            5.0,
            vec![form.expected.to_owned()],
            false,
        )
    }));
    cases.retain(|case| case.name.contains(&chosen));
    known_limits.retain(|case: &Case| case.name.contains(&chosen));
    let findings = run(&cases, &targets);
    println!("{} programs, {} findings", cases.len(), findings.len());
    for limit in run(&known_limits, &targets) {
        println!("known limit: {limit}");
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    assert!(!chosen.is_empty() || cases.len() > 200, "only {} programs were found", cases.len());
}
