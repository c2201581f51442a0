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
    /// The policy is [`Strict`](super::Policy::Strict) and the kernel does not offer enough.
    #[error(
        "this machine cannot provide what the strict sandbox policy asks for: {missing}; run on a kernel with \
         user namespaces, Landlock and seccomp, or choose the policy `best-effort`"
    )]
    TooWeak {
        /// The capabilities that no layer provides.
        missing: String,
    },
    /// A worker was lost in the middle of a request, and its successor too.
    #[error("the sandbox worker was lost twice: {0}")]
    Lost(String),
}
