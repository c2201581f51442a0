//! What a child, which may have been taken over by its program, writes to its status pipe.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vigor::sandbox::Judge;
use vigor::sandbox::fuzzing::{EXPECTED, NONCE, PRINTED, child_output};

/// With `framed` the lines of `data` are the contents of well-formed records; else `data` is the whole text.
fn output(data: &[u8], framed: bool) -> Vec<u8> {
    if !framed {
        return data.to_vec();
    }
    let records = data.split(|byte| *byte == b'\n').map(|json| {
        let head = format!("{NONCE}{:08x}", json.len());
        [head.as_bytes(), json].concat()
    });
    records.collect::<Vec<_>>().concat()
}

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let output = output(rest, first % 2 == 1);
    let report = child_output(&output);
    // One verdict a test, and no pass outside without the right value.
    assert_eq!(report.tests.len(), 7);
    let expected = format!("\"{EXPECTED}\"");
    let told = String::from_utf8_lossy(&output).replace("\\u0069", "i").replace("\\u0034", "4").contains(&expected);
    assert!(told || !report.tests[0].verdict.passed());
    // Nothing judged that its value is right; a value that is not told moves the test inside.
    assert!(report.tests[1].judge == Judge::Inside || !report.tests[1].verdict.passed());
    // A script passes by its text: the words of what it should print, or their like.
    let script = &report.tests[3];
    assert!(script.judge == Judge::Outside && report.tests[4..].iter().all(|test| test.judge == script.judge));
    let says = |word: &str| output.windows(word.len()).any(|text| text.eq_ignore_ascii_case(word.as_bytes()));
    let escaped = output.contains(&b'\\');
    assert!(escaped || PRINTED.split(' ').all(says) || !script.verdict.passed());
    // What a program says is never the harness's fault.
    assert!(report.tests.iter().all(|test| test.verdict.record().kind != "harness_error"));
    // A report is what `vigor exec --json` prints, and each verdict fits into a trace.
    let text = serde_json::to_string(&report).expect("a report is JSON");
    assert_eq!(serde_json::from_str::<vigor::sandbox::ExecReport>(&text).expect("it reads back"), report);
    assert!(report.tests.iter().all(|test| !test.verdict.record().message.contains('\n')));
});
