//! Arguments and steps that several commands share.

use std::path::PathBuf;

use clap::Args;
use vigor::run::{Workbench, WorkbenchOptions};
use vigor::sandbox::{Limits, Policy, PoolConfig};
use vigor::session::method::PromptTemplates;
use vigor::source::{FetchOptions, Kind, Resolved, resolve};
use vigor::task::{Task, load};

use super::Interrupt;
use super::exit::{BAD_INPUT, Failure};
use super::progress::Downloads;

/// What computes, and with how much.
#[derive(Args, Clone)]
pub struct Machine {
    /// Threads for the model [default: all processors].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Memory for keys and values in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 3072)]
    pub kv_memory: usize,
    /// Python interpreter that runs the programs, version 3.9 or later.
    #[arg(long, value_name = "PATH", default_value = "python3")]
    pub python: PathBuf,
    /// Run with whatever isolation the kernel offers, even if a part is missing.
    #[arg(long)]
    pub allow_weaker_sandbox: bool,
    /// Use only files that are here already; open no connection.
    #[arg(long)]
    pub offline: bool,
}

impl Machine {
    pub fn threads(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.filter(|&n| n > 0).unwrap_or_else(all)
    }

    /// Programs that run at once: one a processor.
    pub fn workers(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    pub fn policy(&self) -> Policy {
        if self.allow_weaker_sandbox { Policy::BestEffort } else { Policy::Strict }
    }

    /// Finds a model or dataset, fetching it where that is needed and allowed.
    pub fn find(&self, name: &str, kind: Kind) -> Result<Resolved, Failure> {
        let downloads = Downloads::new();
        let report = |progress: vigor::source::Progress<'_>| downloads.show(progress);
        let options = FetchOptions { offline: self.offline, progress: &report };
        let resolved = resolve(name, kind, &options);
        downloads.finish();
        Ok(resolved?)
    }

    pub fn workbench(
        &self,
        model: &Resolved,
        prompts: &PromptTemplates,
        limits: Limits,
        policy: Policy,
        workers: usize,
        interrupt: &Interrupt,
    ) -> Result<Workbench, Failure> {
        Ok(Workbench::open(&WorkbenchOptions {
            model,
            threads: self.threads(),
            kv_bytes: self.kv_memory.max(1) << 20,
            prompts,
            limits,
            policy,
            workers,
            python: self.python.clone(),
            launcher: PoolConfig::default().launcher,
            interrupt: interrupt.clone(),
        })?)
    }
}

/// Reads the tasks of a dataset; the adapter is the manifest's unless one is given.
pub fn tasks_of(dataset: &Resolved, adapter: Option<&str>) -> Result<Vec<Task>, Failure> {
    let own = dataset.manifest.as_ref().and_then(|m| m.adapter.as_deref());
    let Some(adapter) = adapter.or(own) else {
        return Err(Failure::message(
            BAD_INPUT,
            format!(
                "{}: say how to read it, with --adapter or `adapter` in [dataset]: humaneval, mbpp or jsonl",
                dataset.path.display()
            ),
        ));
    };
    Ok(load(adapter, &dataset.path)?)
}
