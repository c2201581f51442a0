//! `vigor run`: an experiment from a configuration, or the rest of one.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use clap::Args;
use vigor::run::{DatasetInfo, Journal, RunConfig, RunManifest, execute, select_tasks};
use vigor::sandbox::{Limits, PoolConfig};
use vigor::source::Kind;

use super::common::{Machine, tasks_of};
use super::exit::{Failure, INTERRUPTED};
use super::progress::RunBar;
use super::say::{say, tell};
use super::{Interrupt, watched};

/// Run an experiment. Given again, it goes on where it stopped.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  vigor run configs/gamma.toml\n  vigor run configs/gamma.toml --out /scratch/gamma --threads 8"
)]
pub struct Run {
    /// The experiment's configuration.
    config: PathBuf,
    /// Folder for results [default: runs/NAME].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Sessions at once [default: the configuration's].
    #[arg(long, value_name = "N")]
    concurrency: Option<usize>,
    #[command(flatten)]
    machine: Machine,
}

pub fn run(args: &Run, interrupt: &Interrupt) -> Result<(), Failure> {
    let mut config = RunConfig::load(&args.config)?;
    if let Some(concurrency) = args.concurrency {
        config.run.concurrency = concurrency.max(1);
    }
    if let Some(out) = &args.out {
        config.run.out = Some(out.clone());
    }
    for config in config.each_model() {
        run_config(&config, &config.out_dir(), &args.machine, interrupt)?;
    }
    Ok(())
}

/// Runs a configuration into a folder and reports.
pub fn run_config(
    config: &RunConfig,
    out: &Path,
    machine: &Machine,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    // Before anything is fetched.
    let policy = machine.isolation.policy_with(config.sandbox.policy)?;
    let name = match &config.dataset.path {
        Some(path) => path.display().to_string(),
        None => config.dataset.name.clone(),
    };
    let dataset = machine.find(&name, Kind::Dataset)?;
    let all = tasks_of(&dataset, config.dataset.adapter.as_deref())?;
    let info =
        DatasetInfo { name: config.dataset.name.clone(), sha256: dataset.sha256.clone(), tasks: all.len() };
    let config = &config.with_examples_of(&all);
    let tasks = select_tasks(&config.dataset, all)?;

    let model = machine.find(&config.model.name, Kind::Model)?;
    let limits = Limits {
        wall_test_seconds: config.sandbox.wall_seconds,
        memory_mb: config.sandbox.memory_mb,
        ..Limits::default()
    };
    let sandbox = PoolConfig {
        policy,
        workers: config.sandbox.workers.unwrap_or_else(|| machine.workers()),
        scratch_mb: config.sandbox.scratch_mb,
        preload: config.sandbox.preload.clone(),
        ..machine.sandbox()
    };
    let bench = machine.workbench(&model, &config.prompts, limits, sandbox, interrupt)?;
    let part = bench.part(0, config.run.concurrency);
    let manifest = RunManifest::new(config, bench.model.clone(), info, &tasks, part);
    let mut journal = Journal::open(out, manifest)?;
    for repair in journal.repairs() {
        tell!(
            "note: {}: {} bytes of an interrupted write dropped, {} written again",
            repair.path.display(),
            repair.dropped,
            repair.rewritten
        );
    }
    let bar = RunBar::new(bench.clients());
    let summary = watched(|| execute(&mut journal, config, &tasks, &bench, &bar, interrupt));
    bar.finish();
    let summary = summary?;
    if interrupt.load(Ordering::SeqCst) && !summary.complete() {
        return Err(Failure::message(
            INTERRUPTED,
            format!(
                "interrupted after {} of {} sessions; give the same command again to go on",
                summary.finished, summary.sessions
            ),
        ));
    }
    let paths = vigor::report::report(out)?;
    super::report::print(&paths);
    say!("run:  {}", out.display());
    Ok(())
}
