//! What to run, and how much it may use.

use serde::{Deserialize, Serialize};

use super::ScriptTest;

/// One candidate program and the tests to run it on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// The program. Its lines are what a [`Trace`](super::Trace) refers to.
    pub code: String,
    /// Each after a fresh execution of `setup` and `code`, or by one.
    pub tests: Vec<ExecTest>,
    /// Python statements that run before the program, for example imports that a benchmark presumes.
    pub setup: String,
    /// Trace the program's own functions, within these caps; `None`: do not trace.
    pub trace: Option<TraceCaps>,
    /// What it may use.
    pub limits: Limits,
    /// Run the tests after the first one that does not pass, too. When false, the report has no outcomes for
    /// tests after it.
    pub keep_going: bool,
}

/// One test of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ExecTest {
    /// Python statements that run after the program, in its namespace.
    Python(String),
    /// The program as a script.
    Script(ScriptTest),
}

impl From<String> for ExecTest {
    fn from(source: String) -> Self {
        ExecTest::Python(source)
    }
}

impl From<&str> for ExecTest {
    fn from(source: &str) -> Self {
        ExecTest::Python(source.to_owned())
    }
}

/// Limits of one request. Values that make no sense are raised to the smallest that does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Wall-clock seconds for each test: for loading the program before it, and again for the test itself.
    pub wall_test_seconds: f64,
    /// Wall-clock seconds for all tests of the request together.
    pub wall_total_seconds: f64,
    /// CPU seconds of one child process; all tests of a request share a child unless one of them ends it.
    pub cpu_seconds: u64,
    /// Address space in MiB, the interpreter's own ~30 MiB included.
    pub memory_mb: u64,
    /// How many bytes of printed text are kept (the last ones). Printing more than 64 MiB is an
    /// [`Output`](super::Verdict::Output) verdict.
    pub output_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            wall_test_seconds: 5.0,
            wall_total_seconds: 30.0,
            cpu_seconds: 30,
            memory_mb: 512,
            output_bytes: 4096,
        }
    }
}

impl Limits {
    /// The same limits within the ranges that the operating system can express.
    pub(super) fn clamped(self) -> Limits {
        let seconds = |value: f64| if value.is_nan() { 1.0 } else { value.clamp(0.01, 86_400.0) };
        Limits {
            wall_test_seconds: seconds(self.wall_test_seconds),
            wall_total_seconds: seconds(self.wall_total_seconds),
            cpu_seconds: self.cpu_seconds.clamp(1, 86_400),
            memory_mb: self.memory_mb.clamp(64, 1 << 20),
            output_bytes: self.output_bytes.min(1 << 20),
        }
    }
}

/// Caps on the trace of one test, which says where one was reached. Beyond `max_depth` only deeper calls are left
/// out; where another cap is reached, tracing stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraceCaps {
    /// Number of events.
    pub max_events: usize,
    /// Characters of the text of one value.
    pub max_value_bytes: usize,
    /// Characters of all events together, roughly.
    pub max_total_bytes: usize,
    /// Active functions of the program: calls from the deepest of them are not recorded.
    pub max_depth: usize,
    /// Keep one event only, with all variables: what a [minimal](crate::feedback::SignalMode::Minimal) signal
    /// shows. The number of events does not count then, so that the end of a long run is reached.
    pub last_only: bool,
}

impl Default for TraceCaps {
    fn default() -> Self {
        TraceCaps {
            max_events: 500,
            max_value_bytes: 200,
            max_total_bytes: 65_536,
            max_depth: 64,
            last_only: false,
        }
    }
}

impl TraceCaps {
    pub(super) fn clamped(self) -> TraceCaps {
        TraceCaps {
            max_events: self.max_events.min(1_000_000),
            max_value_bytes: self.max_value_bytes.min(65_536),
            max_total_bytes: self.max_total_bytes.min(16 << 20),
            max_depth: self.max_depth.clamp(1, 100_000),
            last_only: self.last_only,
        }
    }
}
