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

/// The part of a session's program that is known to be the beginning of one.
#[derive(Debug, Clone, Default)]
pub struct Reviewed {
    accepted: String,
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
    /// Shows the compiler outlines ([`Outline`]) of the program, once it is known to be the beginning of one: the same
    /// verdicts, whatever its length.
    fn review(
        &self,
        reviewed: &mut Reviewed,
        program: &str,
        continuations: &[String],
    ) -> Result<Vec<Gate>, SessionError> {
        if continuations.is_empty() {
            return Ok(Vec::new());
        }
        let outline = Outline::of(program);
        let mut sources: Vec<String> = continuations
            .iter()
            .map(|continuation| {
                let short = outline.as_ref().and_then(|outline| outline.with(continuation));
                short.unwrap_or_else(|| format!("{program}{continuation}"))
            })
            .collect();
        // In the same round trip: what was committed since the last time.
        let news = program.strip_prefix(reviewed.accepted.as_str());
        if news != Some("") {
            let short = news.and_then(|news| Outline::of(&reviewed.accepted)?.with(news));
            sources.push(short.unwrap_or_else(|| program.to_owned()));
        }
        let mut gates = self.pool.classify(&sources)?;
        if gates.len() > continuations.len() {
            if let Some(Gate::Invalid { .. }) = gates.pop() {
                // A line that guidance decoded is committed as it is. What follows an error has no outline.
                let whole: Vec<String> = continuations.iter().map(|c| format!("{program}{c}")).collect();
                return Ok(self.pool.classify(&whole)?);
            }
            reviewed.accepted = program.to_owned();
        }
        Ok(gates)
    }
}
