//! Sessions: one attempt at one task with one method, configuration and seed.
//!
//! The [`supervisor`] runs the loop; each step asks the roles in turn: the [`coder`] proposes continuations,
//! the [`language`] classifies their lines, the [`reviewer`] gates them, the [`evaluator`] runs them, and
//! [`commit`] chooses, as a pure function of the recorded evidence. The [`tester`] judges the whole program.
//! Every event goes into the [`trace`], from which [`replay`] derives every decision again.

pub mod coder;
pub mod commit;
pub mod evaluator;
pub mod language;
pub mod lines;
pub mod method;
pub mod outcome;
pub mod policy;
pub mod prompts;
pub mod replay;
pub mod reviewer;
pub mod style;
pub mod supervisor;
pub mod tester;
pub mod trace;

use crate::engine::EngineError;
use crate::sandbox::SandboxError;

pub use outcome::{Attempt, Outcome, StepReport};
pub use supervisor::Supervisor;

/// Why a session could not go on. A program that fails its tests is no error.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The user asked to stop.
    #[error("interrupted")]
    Stopped,
    /// The engine failed.
    #[error(transparent)]
    Engine(EngineError),
    /// The sandbox failed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A prompt cannot be made.
    #[error("the prompt cannot be made: {0}")]
    Prompt(String),
}

impl From<EngineError> for SessionError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Interrupted => Self::Stopped,
            other => Self::Engine(other),
        }
    }
}
