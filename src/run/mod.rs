//! Runs: experiments on disk, from a configuration to a folder of results that can be resumed and trusted.
//!
//! [`config`] reads an experiment and expands it into cells; [`manifest`] says what a run was made of;
//! [`mod@execute`] gives the sessions to worker threads; [`journal`] keeps what they came to, so that a run that
//! was killed, or that several processes share, ends in the same bytes; [`files`] are the types of the lines.

mod claims;
pub mod config;
pub mod error;
pub mod execute;
pub mod files;
pub mod grid;
pub mod journal;
pub mod list;
pub mod manifest;
pub mod merge;
mod outputs;
mod sessions;
pub mod shard;
mod skip;
pub mod workbench;

pub use config::{ConfigError, RunConfig};
pub use error::RunError;
pub use execute::{
    NoProgress, Progress, SessionJob, SessionOutcome, SolveError, Solver, StepProgress, Summary, execute,
    select_tasks,
};
pub use grid::Cell;
pub use journal::{Journal, Repair, Sharing};
pub use manifest::{DatasetInfo, ModelInfo, Part, RunManifest};
pub use merge::{Merged, merge};
pub use sessions::finished_results;
pub use shard::Shard;
pub use workbench::{Workbench, WorkbenchError, WorkbenchOptions};
