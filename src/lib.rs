//! vigor runs code models locally and writes Python programs one line at a time, guided by execution.
//!
//! The rooms, each using only those below it:
//!
//! | room | holds |
//! | --- | --- |
//! | `cli` (in the binary) | one file a subcommand: parses, prints, exits |
//! | [`bench`] | how fast it all is, beside the machine's limits |
//! | [`report`] | tables, plots and pages, from a run's files alone |
//! | [`run`] | experiments on disk: configuration, grid, journal, manifest, the workbench |
//! | [`score`] | samples that anybody made → verdicts |
//! | [`session`] | the loop and its roles; the trace; replay |
//! | [`feedback`] | execution traces → signal text |
//! | [`task`] | benchmarks → tasks |
//! | [`sandbox`] | hostile programs → verdicts and traces |
//! | [`syntax`] | lines, classes, minimal completion |
//! | [`engine`] | sequences through a model: pages, forks, batches, beams, guesses |
//! | [`model`] | files → log-probabilities; draws and guidance; tokenizers; chat templates |
//! | [`team`] | threads for loops that last microseconds |
//! | [`source`] | names → verified files |
//!
//! `docs/architecture.md` says why.

pub mod bench;
pub mod engine;
pub mod feedback;
pub mod model;
pub mod report;
pub mod run;
pub mod sandbox;
pub mod score;
pub mod session;
pub mod source;
pub mod syntax;
pub mod task;
pub mod team;
