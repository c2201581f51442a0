//! `vigor run`: an experiment from a configuration, or the rest of one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;
use vigor::run::{
    DatasetInfo, Journal, Progress, RunConfig, RunManifest, Shard, Sharing, execute, select_tasks,
};
use vigor::sandbox::PoolConfig;
use vigor::source::Kind;
use vigor::task::split;

use super::common::{Machine, adapter_of, seconds, tasks_of};
use super::exit::{Failure, INTERRUPTED, USAGE};
use super::progress::RunBar;
use super::say::{say, tell};
use super::slurm::Slurm;
use super::tui::{self, Dashboard};
use super::{Interrupt, watched};

/// Run an experiment. Given again, it goes on where it stopped; given several times at once, the processes share it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  vigor run configs/gamma.toml
  vigor run configs/gamma.toml --out /scratch/gamma --threads 8
  vigor run configs/gamma.toml --tui                          a dashboard: programs, candidates, verdicts
  vigor run configs/gamma.toml --shard 0/2 --out a            every second task; see vigor merge
  vigor run configs/gamma.toml --slurm --slurm-gpus 1 > gamma.sh && sbatch gamma.sh

Several processes with the same configuration and folder share the work, on one machine or on several that see the
folder: docs/clusters.md.")]
pub struct Run {
    /// The experiment's configuration.
    config: PathBuf,
    /// Folder for results [default: runs/NAME].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Sessions at once [default: the configuration's].
    #[arg(long, value_name = "N")]
    concurrency: Option<usize>,
    /// Run every Nth task only, counted from task I: for machines that share no folder.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Seconds without a sign of life after which other processes take over a process's sessions.
    #[arg(long, value_name = "SECONDS", default_value = "90", value_parser = seconds)]
    lease: f64,
    /// Show a dashboard on the terminal: the sessions at work, their programs, candidates and verdicts. Its `?` explains
    /// the keys; `q` ends the run as Ctrl-C does.
    #[arg(long, conflicts_with = "slurm")]
    tui: bool,
    #[command(flatten)]
    slurm: Slurm,
    #[command(flatten)]
    machine: Machine,
}

pub fn run(args: &Run, interrupt: &Interrupt) -> Result<(), Failure> {
    let mut config = RunConfig::load(&args.config)?;
    if let Some(concurrency) = args.concurrency {
        config.run.concurrency = concurrency.max(1);
    }
    if args.slurm.slurm {
        say!("{}", args.script(&config)?.trim_end());
        return Ok(());
    }
    if let Some(out) = &args.out {
        config.run.out = Some(out.clone());
    }
    if args.tui {
        tui::check()?;
    }
    let shard = args.shard.unwrap_or(Shard::WHOLE);
    let sharing = Sharing { shard, lease: Duration::from_secs_f64(args.lease) };
    for config in config.each_model() {
        run_config(&config, &config.out_dir(), sharing, &args.machine, args.tui, interrupt)?;
    }
    Ok(())
}

impl Run {
    /// The script that runs this on a cluster.
    pub fn script(&self, config: &RunConfig) -> Result<String, Failure> {
        let out = self.out.clone().unwrap_or_else(|| config.out_dir());
        self.slurm.script(config, &out, &self.arguments()?)
    }

    /// The arguments again, without those of the script, in a way that holds wherever the command runs.
    fn arguments(&self) -> Result<Vec<OsString>, Failure> {
        let mut arguments: Vec<OsString> = vec!["run".into(), absolute(&self.config)?.into()];
        if let Some(out) = &self.out {
            arguments.extend(["--out".into(), absolute(out)?.into()]);
        }
        if let Some(concurrency) = self.concurrency {
            arguments.extend(["--concurrency".into(), concurrency.to_string().into()]);
        }
        if let Some(shard) = self.shard {
            arguments.extend(["--shard".into(), shard.to_string().into()]);
        }
        arguments.extend(["--lease".into(), self.lease.to_string().into()]);
        arguments.extend(self.machine.arguments());
        Ok(arguments)
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|e| Failure::message(USAGE, format!("{}: {e}", path.display())))
}

/// Runs a configuration into a folder and reports. `dashboard`: on the whole terminal, which must be one.
pub fn run_config(
    config: &RunConfig,
    out: &Path,
    sharing: Sharing,
    machine: &Machine,
    dashboard: bool,
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
    let all = match &config.dataset.split {
        Some(part) => split(adapter_of(&dataset, config.dataset.adapter.as_deref())?, part, all)?,
        None => all,
    };
    let tasks = select_tasks(&config.dataset, all)?;

    let model = machine.find(&config.model.name, Kind::Model)?;
    let sandbox = PoolConfig {
        policy,
        workers: config.sandbox.workers.unwrap_or_else(|| machine.workers()),
        scratch_mb: config.sandbox.scratch_mb,
        preload: config.sandbox.preload.clone(),
        ..machine.sandbox()
    };
    let bench = machine.workbench(&model, &config.prompts, config.sandbox.limits(), sandbox, interrupt)?;
    let part = bench.part(0, config.run.concurrency);
    let manifest = RunManifest::new(config, bench.model.clone(), info, &tasks, part);
    let mut journal = Journal::open_shared(out, manifest, sharing)?;
    match journal.others() {
        0 => {}
        1 => tell!("another process works in this folder, too; sharing the sessions with it"),
        others => tell!("{others} other processes work in this folder, too; sharing the sessions with them"),
    }
    for repair in journal.repairs() {
        tell!(
            "note: {}: {} bytes of an interrupted write dropped, {} written again",
            repair.path.display(),
            repair.dropped,
            repair.rewritten
        );
    }
    let mut execute = |progress: &dyn Progress| {
        watched(|| execute(&mut journal, config, &tasks, &bench, progress, interrupt))
    };
    let summary = if dashboard {
        let sessions = tasks.len() * config.cells().len();
        let dashboard = Dashboard::open(config, out.to_owned(), sessions, &bench, interrupt)?;
        execute(&dashboard)
    } else {
        let bar = RunBar::new(bench.clients());
        let summary = execute(&bar);
        bar.finish();
        summary
    };
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
    if !journal.complete() && summary.complete() {
        say!("share {} is finished: {} sessions", sharing.shard, summary.finished);
        say!("run:  {}", out.display());
        return Ok(());
    }
    // One process makes the pages: the one that wrote the last session, or that found all finished.
    if journal.wrote_last() || summary.resumed == summary.sessions {
        super::report::print(&vigor::report::report(out)?);
    } else {
        say!("{}", vigor::report::summary(out)?.text());
        say!("another process finished the last session and makes the pages");
    }
    say!("run:  {}", out.display());
    Ok(())
}
