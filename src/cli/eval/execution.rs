//! How programs are run where `vigor eval` runs any.

use std::path::PathBuf;

use clap::Args;
use vigor::run::config::SandboxSection;
use vigor::sandbox::{Limits, Pool, PoolConfig};

use crate::cli::common::{Isolation, processors, seconds};
use crate::cli::exit::{Failure, USAGE};

/// For `--samples` and `--mode internal`.
#[derive(Args)]
#[command(next_help_heading = "Running programs (--samples, --mode internal)")]
pub struct Execution {
    /// Seconds for each test; all tests of a sample together have three times that [default: 10; of runs: their configuration's].
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub time: Option<f64>,
    /// Memory of a program in MiB, the interpreter's own 30 included [default: 1024; of runs: their configuration's].
    #[arg(long, value_name = "MB")]
    pub memory: Option<u64>,
    /// Programs that run at once [default: one a processor].
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Python interpreter, version 3.9 or later [default: python3].
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Import a module ahead of time, and let programs and tests import any package of the interpreter; can be given
    /// several times.
    #[arg(long, value_name = "MODULE")]
    preload: Vec<String>,
    /// Let programs and tests write files, of so many MiB in all, in a folder that is gone after each sample.
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u64).range(1..=65_536))]
    scratch: Option<u64>,
    #[command(flatten)]
    isolation: Isolation,
}

impl Execution {
    /// Refuses what is asked for where no program is run.
    pub fn none(&self) -> Result<(), Failure> {
        let given = [
            ("--time", self.time.is_some()),
            ("--memory", self.memory.is_some()),
            ("--workers", self.workers.is_some()),
            ("--python", self.python.is_some()),
            ("--preload", !self.preload.is_empty()),
            ("--scratch", self.scratch.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(Failure::message(
                USAGE,
                format!("{flag} goes with --samples or --mode internal; here no program is run"),
            )),
            None => Ok(()),
        }
    }

    /// The configured limits, where no others are asked for.
    pub fn limits(&self, configured: &SandboxSection) -> Limits {
        let limits = configured.limits();
        Limits {
            wall_test_seconds: self.time.unwrap_or(limits.wall_test_seconds),
            memory_mb: self.memory.unwrap_or(limits.memory_mb),
            ..limits
        }
    }

    /// Workers, with what is configured where nothing else is asked for.
    pub fn pool(&self, configured: &SandboxSection) -> Result<Pool, Failure> {
        let preload = if self.preload.is_empty() { &configured.preload } else { &self.preload };
        Ok(Pool::new(PoolConfig {
            python: self.python.clone().unwrap_or_else(|| "python3".into()),
            workers: self.workers.unwrap_or_else(processors).max(1),
            policy: self.isolation.policy_with(configured.policy)?,
            preload: preload.clone(),
            scratch_mb: self.scratch.or(configured.scratch_mb),
            ..PoolConfig::default()
        })?)
    }
}
