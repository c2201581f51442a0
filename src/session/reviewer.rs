//! The reviewer role: gates candidates before anything of them runs.

use std::sync::Arc;

use super::SessionError;
use super::trace::Gate;
use crate::sandbox::Pool;
use crate::syntax::Outline;

/// Says which continuations of a program can become valid programs.
pub trait Reviewer: Send + Sync {
    /// A verdict on `program` with each of `continuations` after it, in their order. `reviewed` is the session's: it
    /// spares looking again at what was looked at before, and changes no verdict.
    ///
    /// # Errors
    /// The reviewer itself fails; a bad continuation is a verdict.
    fn review(
        &self,
        reviewed: &mut Reviewed,
        program: &str,
        continuations: &[String],
    ) -> Result<Vec<Gate>, SessionError>;
}

/// What is known of a session's program.
#[derive(Debug, Clone, Default)]
pub struct Reviewed {
    /// Its longest beginning that CPython was seen to compile. Of what it only found unfinished it has not looked at
    /// everything yet.
    compiled: String,
}

/// CPython's own compiler, in the sandbox: the authority on what is Python.
pub struct CPython {
    pool: Arc<Pool>,
}

impl CPython {
    /// Uses the pool's workers.
    pub fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }
}

impl Reviewer for CPython {
    /// Shows the compiler an outline ([`Outline`]) of what it has compiled before, and all that comes after that: the same
    /// verdicts, at a cost that does not grow with the program.
    fn review(
        &self,
        reviewed: &mut Reviewed,
        program: &str,
        continuations: &[String],
    ) -> Result<Vec<Gate>, SessionError> {
        if continuations.is_empty() {
            return Ok(Vec::new());
        }
        let news = program.strip_prefix(reviewed.compiled.as_str());
        let outline = news.and_then(|_| Outline::of(&reviewed.compiled));
        let source = |continuation: &str| {
            let short =
                outline.as_ref().and_then(|outline| outline.with(&format!("{}{continuation}", news?)));
            short.unwrap_or_else(|| format!("{program}{continuation}"))
        };
        let mut sources: Vec<String> = continuations.iter().map(|text| source(text)).collect();
        // In the same round trip: what was committed since the last time.
        let asks = news != Some("");
        if asks {
            sources.push(source(""));
        }
        let mut gates = self.pool.classify(&sources)?;
        if asks && gates.pop() == Some(Gate::Complete) {
            reviewed.compiled = program.to_owned();
        }
        Ok(gates)
    }
}
