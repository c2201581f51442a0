//! Runs Python programs that nobody has read, and says what happened, without being harmed by them.
//!
//! The engine starts this binary again as a small [`launcher`], which gives up every right that the kernel
//! lets it give up and then becomes one CPython, the zygote. The zygote forks a child per request; the child
//! takes on a second, tighter filter and runs the program. One [`Pool`] holds several such workers.
//! `docs/sandbox.md` lists the layers and what each of them holds.

mod allow_list;
mod cgroup;
mod error;
mod execution;
#[cfg(fuzzing)]
pub mod fuzzing;
mod identity;
mod landlock_layer;
pub mod launcher;
mod layers;
mod mounts;
mod namespaces;
mod plan;
mod pool;
mod private_root;
mod protocol;
mod python;
mod readable;
mod report;
mod request;
mod resources;
mod script;
mod seccomp;
mod source;
mod threads;
mod trace;
mod verdict;
mod worker;

pub use error::SandboxError;
pub use launcher::launcher_main;
pub use layers::{Capability, Layer, Policy};
pub use pool::{Pool, PoolConfig, effective};
pub use python::Python;
pub use report::{ExecReport, Judge, TestOutcome};
pub use request::{ExecRequest, ExecTest, Limits, TraceCaps};
pub use script::{Comparison, ScriptTest};
pub use source::source_line;
pub use trace::{EventKind, Local, Trace, TraceEvent};
pub use verdict::Verdict;
