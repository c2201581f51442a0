//! The reviewer role: gates candidates before anything of them runs.

use std::sync::Arc;

use super::SessionError;
use super::trace::Gate;
use crate::sandbox::Pool;

/// Says which prefixes can become valid programs.
pub trait Reviewer: Send + Sync {
    /// A verdict on each prefix, in their order.
    ///
    /// # Errors
    /// The reviewer itself fails; a bad prefix is a verdict.
    fn review(&self, prefixes: &[String]) -> Result<Vec<Gate>, SessionError>;
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
    fn review(&self, prefixes: &[String]) -> Result<Vec<Gate>, SessionError> {
        if prefixes.is_empty() { Ok(Vec::new()) } else { Ok(self.pool.classify(prefixes)?) }
    }
}
