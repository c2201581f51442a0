//! How a test is judged: where that can be, outside of the process that runs the program.
//!
//! The program's process gets only the calls of a test (`f(2)` of `assert f(2) == 4`) and tells their values; what
//! the values should be never enters it. A program that takes the harness over can then claim any value, but it has to
//! know the right one. Tests that cannot be cut so are judged inside, with what that means for their verdict.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

use super::ExecTest;
use super::protocol::{Answer, TestWork};

/// How one test is judged. Made from the test alone, by a child that never sees a program.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "plan", rename_all = "snake_case")]
pub(super) enum Plan {
    /// By the process that runs the program.
    Inside,
    /// By comparing what that process tells.
    Outside {
        /// Statements of the test before its assertions, for example imports, without the definitions
        /// that are needed for what must not enter the process.
        prelude: String,
        /// All of them.
        whole_prelude: String,
        /// One an assertion.
        asks: Vec<Ask>,
    },
    /// By comparing what the program printed, run as a script. No child plans it.
    #[serde(skip)]
    Script,
    /// Not at all: it is no Python.
    Broken {
        /// What the compiler says.
        message: String,
    },
}

/// One assertion.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Ask {
    /// The part that only the program can compute.
    pub expression: String,
    /// What its value must be.
    pub check: Check,
    /// The assertion's own message.
    pub message: Option<String>,
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "check", rename_all = "snake_case")]
pub(super) enum Check {
    /// Equal to a value: equal values have equal texts.
    Equal { value: String, shown: String },
    /// True, or false, as a condition.
    Truth { value: bool },
    /// What an expression holds for. `shown` is the whole assertion. `plain`: it can be judged without a value, too, where
    /// that is no plain data; else such a value is judged where it is.
    Holds { expression: String, shown: String, plain: bool },
}

impl Check {
    /// What of the value the child has to tell.
    fn needs(&self) -> &'static str {
        match self {
            Check::Equal { .. } => "equal",
            Check::Truth { .. } => "truth",
            Check::Holds { .. } => "holds",
        }
    }
}

impl Ask {
    /// The message of the assertion where the value, as `shown`, is not what it must be.
    pub fn message(&self, got: &str) -> String {
        match (&self.message, &self.check) {
            (Some(message), _) => message.clone(),
            (None, Check::Equal { shown, .. }) => format!("got {got}, expected {shown}"),
            (None, Check::Truth { value }) => format!("got {got}, expected a {value} value"),
            (None, Check::Holds { shown, .. }) => format!("got {got} in {shown}"),
        }
    }
}

/// Most bytes of a record that hold what a script printed: 4 MiB of text, of which a character can take six bytes.
const SCRIPT_ANSWER: usize = 24 << 20;

impl Plan {
    /// Whether a value could not be told that an assertion needs, for example an iterator: then it is judged inside.
    pub fn is_beyond(&self, answers: &[Answer]) -> bool {
        let Plan::Outside { asks, .. } = self else { return false };
        asks.iter().zip(answers).any(|(ask, answer)| {
            matches!(&ask.check, Check::Holds { plain: false, .. }) && answer.value.is_none()
        })
    }

    /// Most bytes that a child's answers to this test can take in a record.
    pub fn answer_bytes(&self) -> usize {
        let asks = match self {
            Plan::Outside { asks, .. } => asks,
            Plan::Script => return SCRIPT_ANSWER,
            Plan::Inside | Plan::Broken { .. } => return 0,
        };
        let one = |ask: &Ask| match ask.check {
            Check::Holds { .. } => 3 << 20,
            Check::Equal { .. } | Check::Truth { .. } => 256 << 10,
        };
        asks.iter().map(one).sum()
    }

    /// What the child gets of `test`.
    pub fn work<'a>(&'a self, test: &'a ExecTest) -> TestWork<'a> {
        match (self, test) {
            (_, ExecTest::Script(script)) => TestWork::Script { stdin: &script.stdin },
            (Plan::Outside { prelude, asks, .. }, _) => TestWork::Outside {
                prelude,
                asks: asks.iter().map(|ask| (ask.expression.as_str(), ask.check.needs())).collect(),
            },
            (_, ExecTest::Python(source)) => TestWork::Inside { source },
        }
    }
}

/// Plans are kept: a run asks for the same tests thousands of times.
#[derive(Debug, Default)]
pub(super) struct Plans {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    plans: HashMap<String, Arc<Plan>>,
    /// Of their tests.
    bytes: usize,
}

/// Bytes of tests whose plans are kept at the same time.
const KEPT_BYTES: usize = 32 << 20;

impl Plans {
    /// The plan of each test. `make` is asked once for those that are not known yet.
    pub fn of<E>(
        &self,
        tests: &[ExecTest],
        make: impl FnOnce(&[&str]) -> Result<Vec<Option<Plan>>, E>,
    ) -> Result<Vec<Arc<Plan>>, E> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: HashMap<&str, Arc<Plan>> = {
            let known = known();
            tests
                .iter()
                .filter_map(python)
                .filter_map(|test| Some((test, known.plans.get(test)?.clone())))
                .collect()
        };
        let mut new: Vec<&str> =
            tests.iter().filter_map(python).filter(|test| !found.contains_key(test)).collect();
        new.sort_unstable();
        new.dedup();
        if !new.is_empty() {
            let plans = make(&new)?;
            let mut known = known();
            for (test, plan) in new.into_iter().zip(plans) {
                // One that could not be made now is judged inside, and asked for again.
                let Some(plan) = plan.map(Arc::new) else { continue };
                if known.bytes + test.len() > KEPT_BYTES {
                    *known = Known::default();
                }
                known.bytes += test.len();
                known.plans.insert(test.to_owned(), plan.clone());
                found.insert(test, plan);
            }
        }
        let (inside, script) = (Arc::new(Plan::Inside), Arc::new(Plan::Script));
        let plan = |test: &ExecTest| match python(test) {
            Some(source) => found.get(source).unwrap_or(&inside).clone(),
            None => script.clone(),
        };
        Ok(tests.iter().map(plan).collect())
    }
}

/// The source of a test that has one.
fn python(test: &ExecTest) -> Option<&str> {
    match test {
        ExecTest::Python(source) => Some(source),
        ExecTest::Script(_) => None,
    }
}
