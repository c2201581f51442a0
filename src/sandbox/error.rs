//! What can go wrong with the sandbox itself; a program's own failure is a [`Verdict`](super::Verdict).

use std::path::PathBuf;

/// Why a program could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// No usable Python interpreter.
    #[error(
        "cannot run the Python interpreter `{python}`: {reason}; install Python 3.9 or newer, or name an \
         interpreter by its full path"
    )]
    Python {
        /// As configured.
        python: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The worker process could not be started.
    #[error("cannot start the sandbox launcher `{launcher}`: {reason}")]
    Launcher {
        /// Path of the executable.
        launcher: PathBuf,
        /// What happened.
        reason: String,
    },
    /// A module that is to be imported ahead of time cannot be.
    #[error(
        "cannot import `{module}` for the programs, with the Python interpreter `{python}`: {reason}; install it \
         for that interpreter, name one that has it, or take `{module}` out of what is preloaded"
    )]
    Preload {
        /// Its name.
        module: String,
        /// As configured.
        python: PathBuf,
        /// What Python says.
        reason: String,
    },
    /// The policy is [`Strict`](super::Policy::Strict) and the kernel does not offer enough.
    #[error(
        "the sandbox cannot promise what its policy `strict` asks for: {missing}; run on a kernel with user \
         namespaces, Landlock and seccomp (in a container: let it have them), or give --allow-weaker-sandbox \
         (policy `best-effort`) to run programs with what there is"
    )]
    TooWeak {
        /// The promises that no layer keeps, each with the layers that could and why they do not.
        missing: String,
    },
    /// A worker was lost in the middle of a request, and its successor too.
    #[error("the sandbox worker was lost twice: {0}")]
    Lost(String),
}
