//! Doors for the fuzz targets of `tests/fuzz`: what reads bytes that a hostile program may have written.

use std::sync::Arc;

use super::execution::outcomes;
use super::plan::{Ask, Check, Plan};
use super::protocol::{Ending, Launched, Ready, read_frame, read_json};
use super::{Comparison, ExecReport, ExecRequest, ExecTest, ScriptTest, Trace};

/// The nonce of [`child_output`].
pub const NONCE: &str = "n0nce";

/// The value that the first test of [`child_output`] expects, as text.
pub const EXPECTED: &str = "i4";

/// What the scripts of [`child_output`] should print.
pub const PRINTED: &str = "Yes 1.50";

/// The outcomes of a request of which a child wrote `output` and then ended: of a test judged outside by a value, one
/// judged outside by an expression (which never holds), one judged inside, and one script for each kind of comparison.
pub fn child_output(output: &[u8]) -> ExecReport {
    let ask = |check| Plan::Outside {
        prelude: String::new(),
        whole_prelude: String::new(),
        asks: vec![Ask { expression: "f(2)".to_owned(), check, message: None }],
    };
    let plans = [
        ask(Check::Equal { value: EXPECTED.to_owned(), shown: "4".to_owned() }),
        ask(Check::Holds {
            expression: "_vigor_value < 4".to_owned(),
            shown: "f(2) < 4".to_owned(),
            plain: false,
        }),
        Plan::Inside,
        Plan::Script,
        Plan::Script,
        Plan::Script,
        Plan::Script,
    ]
    .map(Arc::new);
    let script = |comparison| {
        ExecTest::Script(ScriptTest { stdin: String::new(), stdout: PRINTED.to_owned(), comparison })
    };
    let scripts = [Comparison::Text, Comparison::Decimals, Comparison::Close, Comparison::Words].map(script);
    let tests = (0..3).map(|_| ExecTest::Python(String::new())).chain(scripts).collect();
    let request = ExecRequest {
        code: "def f(x):\n    return 4\n".to_owned(),
        tests,
        keep_going: true,
        ..ExecRequest::default()
    };
    let ending = Ending { ended: "closed".to_owned(), cpu_ms: 1, exit: Some(0), signal: None };
    outcomes(&request, &plans, output, NONCE, &ending)
}

/// Reads what a worker says: the launcher's report, the zygote's, and answers.
pub fn worker_output(mut bytes: &[u8]) {
    let from = &mut bytes;
    let _: Result<Launched, _> = read_json(from);
    let _: Result<Ready, _> = read_json(from);
    while let (Ok(_), Ok(_)) = (read_json::<Ending>(from), read_frame(from, 1 << 20)) {}
}

/// A trace as a child sends it, put right for a program of `lines` lines.
pub fn trace(json: &[u8], lines: usize) -> Option<Trace> {
    Some(serde_json::from_slice::<Trace>(json).ok()?.canonical(lines))
}
