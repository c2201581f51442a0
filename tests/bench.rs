//! `vigor bench` through the binary, with a real model: every row that was asked for is there, with numbers that
//! mean something; and a comparison with an earlier run says what it should.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use vigor::bench::{Comparison, Document};
use vigor::source::{FetchOptions, Kind, resolve};

/// Few tokens, one repetition.
const QUICK: [&str; 14] = [
    "--prompt",
    "40",
    "--n",
    "1,2",
    "--prefix",
    "64",
    "--steps",
    "4",
    "--lines",
    "2",
    "--repeat",
    "1",
    "--threads",
    "2",
];

fn bench(arguments: &[&str]) -> Output {
    let model = resolve("smollm2-135m-instruct", Kind::Model, &FetchOptions::default());
    let model: PathBuf = model.unwrap_or_else(|e| panic!("`vigor pull smollm2` is needed: {e}")).path;
    let mut command = Command::new(env!("CARGO_BIN_EXE_vigor"));
    command.arg("bench").arg("--model").arg(model).args(["--offline", "--allow-weaker-sandbox"]);
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// All rows, measured once for all tests.
fn document() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let output = bench(&[&QUICK[..], &["--json"]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    })
}

#[test]
fn every_row_is_measured() {
    let document = document();
    let names: Vec<&str> = document.rows.iter().map(|row| row.name.as_str()).collect();
    let expected = [
        "prefill/tokens=40",
        "decode",
        "shared/n=1/prefix=64",
        "shared/n=2/prefix=64",
        "sessions/n=1",
        "sessions/n=2",
        "guided/two-plain",
        "guided/gamma=1",
        "guided/gamma=3",
        "step/vigor",
        "step/eg-cfg",
        "session/eg-cfg",
    ];
    assert_eq!(names, expected);
    for row in &document.rows {
        let numbers = [row.tokens_per_second.median, row.milliseconds.median, row.tokens as f64];
        assert!(numbers.iter().all(|n| n.is_finite() && *n > 0.0), "{row:?}");
        assert!(row.pages > 0 && row.peak_memory_bytes > 100 << 20, "{row:?}");
        let session = row.name.starts_with("step/") || row.name.starts_with("session/");
        assert_eq!(row.parts.is_some(), session, "{row:?}");
        for share in [row.of_read_bandwidth, row.of_fma_rate] {
            assert_eq!(share.is_none(), session, "{row:?}");
            // The least that must be read; the machine cannot do much more than it was measured to do.
            assert!(share.is_none_or(|share| share > 0.0 && share < 3.0), "{row:?}");
        }
    }
    // Each sequence decodes four tokens; two streams under guidance decode the same ones.
    let tokens = |name: &str| document.rows.iter().find(|row| row.name == name).unwrap().tokens;
    assert_eq!(
        [
            "prefill/tokens=40",
            "decode",
            "shared/n=2/prefix=64",
            "sessions/n=2",
            "guided/two-plain",
            "guided/gamma=1"
        ]
        .map(tokens),
        [40, 4, 8, 8, 8, 4]
    );
    let machine = &document.machine;
    assert!(machine.read_gb_per_second > 0.5 && machine.fma_gflop_per_second > 0.05, "{machine:?}");
    assert_eq!(machine.threads, 2);
    // 135 million weights of four bits and more, packed as this machine likes them.
    assert!((60 << 20..600 << 20).contains(&document.weight_bytes), "{}", document.weight_bytes);
    let task = document.task.as_ref().unwrap();
    assert!(task.prompt.contains("longest_plateau") && task.conditional_prompt.contains("SIGNAL"));
    assert!(task.written.as_ref().is_some_and(|program| !program.is_empty()));
}

#[test]
fn an_earlier_run_is_compared_row_by_row() {
    let now = document();
    let same = Comparison::new(now, now);
    assert_eq!(same.rows.len(), now.rows.len());
    assert!(same.rows.iter().all(|(_, _, _, ratio)| *ratio == 1.0) && same.notes.is_empty(), "{same:?}");

    let mut then = now.clone();
    for row in &mut then.rows {
        row.tokens_per_second.median /= 2.0;
    }
    then.machine.threads = 1;
    then.rows.retain(|row| row.name != "decode");
    let doubled = Comparison::new(&then, now);
    assert!(doubled.rows.iter().all(|(_, _, _, ratio)| *ratio == 2.0), "{doubled:?}");
    assert_eq!(doubled.notes, ["threads: 1 then, 2 now", "measured only now: decode"]);

    // Through the binary: what was thousands of times slower then is thousands of times as fast now.
    for row in &mut then.rows {
        row.tokens_per_second.median = 1e-3;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("then.json");
    std::fs::write(&file, serde_json::to_string(&then).unwrap()).unwrap();
    let file = file.to_str().unwrap();
    let output = bench(&[&QUICK[..], &["--only", "prefill,sessions", "--compare", file]].concat());
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let (_, comparison) = shown.split_once("Tokens/s beside those of").unwrap_or_else(|| panic!("{shown}"));
    for row in ["prefill/tokens=40", "sessions/n=1", "sessions/n=2"] {
        let line = comparison.lines().find(|line| line.starts_with(row)).unwrap_or_else(|| panic!("{shown}"));
        let ratio: f64 = line.split_whitespace().last().unwrap().parse().unwrap();
        assert!(ratio > 100.0, "{line}");
    }
    assert!(comparison.contains("note: threads: 1 then, 2 now"), "{comparison}");
}

#[test]
fn values_come_comma_separated_too() {
    let output = bench(&[&QUICK[..], &["--only", "decode", "--csv"]].concat());
    let shown = text(&output.stdout);
    let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 2, "{shown}");
    assert_eq!(lines[0].len(), lines[1].len());
    assert_eq!((lines[0][0], lines[1][0], lines[1][4]), ("name", "decode", "4"));
}

#[test]
fn mistakes_are_told() {
    let fails = |arguments: &[&str], code: i32, words: &[&str]| {
        let output = bench(arguments);
        let shown = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{shown}");
        assert!(words.iter().all(|word| shown.contains(word)), "{shown}");
        assert_eq!(text(&output.stdout), "");
    };
    fails(&["--only", "decode,prefil"], 2, &["\"prefil\"", "prefill, decode, shared, sessions, guided"]);
    fails(&["--n", "0"], 2, &["--n", "at least 1"]);
    fails(&["--json", "--csv"], 2, &["--json", "--csv"]);
    fails(&["--compare", "nosuch.json"], 3, &["nosuch.json", "vigor bench --json"]);
    fails(&["--compare", "Cargo.toml"], 3, &["Cargo.toml", "vigor bench --json"]);
    fails(&["--only", "shared", "--prefix", "100000"], 2, &["shared/n=1/prefix=100000", "8192", "--prefix"]);
}
