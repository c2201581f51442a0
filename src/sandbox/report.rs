//! What came of a request.

use serde::{Deserialize, Serialize};

use super::{Trace, Verdict};

/// The outcome of one [`ExecRequest`](super::ExecRequest).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecReport {
    /// One a test, in the order of the request; shorter than it only where `keep_going` was false.
    pub tests: Vec<TestOutcome>,
    /// The last of what the program printed, over all tests. Text of a test that ended its process is lost.
    pub output_tail: String,
    /// Wall-clock seconds, for statistics. The only field that may differ between two equal requests.
    pub seconds: f64,
}

impl ExecReport {
    /// Number of tests passed.
    pub fn passed(&self) -> usize {
        self.tests.iter().filter(|test| test.verdict.passed()).count()
    }
}

/// The outcome of one test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestOutcome {
    /// What happened.
    pub verdict: Verdict,
    /// Where that was decided.
    pub judge: Judge,
    /// What the program did, where tracing was asked for and the process lived to tell. A failure of the
    /// program's top level is the verdict of every test; its trace is given with the first one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    /// The beginning of what the program printed, of a test that runs it as a script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub printed: Option<String>,
}

/// Where a test is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judge {
    /// Outside of the process that runs the program, which tells only values.
    Outside,
    /// In that process: a program that takes the harness over can say that the test passed.
    Inside,
}
