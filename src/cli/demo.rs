//! `vigor demo`: three tasks, every method, a table and pages.

use std::path::{Path, PathBuf};

use clap::Args;
use vigor::run::{RunConfig, Sharing};

use super::Interrupt;
use super::common::Machine;
use super::exit::Failure;
use super::run::run_config;
use super::tui;

/// The demo's experiment, the same file that a user can read and change.
const CONFIG: &str = include_str!("../../configs/demo.toml");

/// Solve three HumanEval tasks with every method, with a small model that is fetched when needed.
#[derive(Args)]
#[command(after_help = "Example:\n  vigor demo --out /tmp/demo")]
pub struct Demo {
    /// Folder for results.
    #[arg(long, value_name = "DIR", default_value = "runs/demo")]
    out: PathBuf,
    /// Show a dashboard on the terminal, as `vigor run --tui` does.
    #[arg(long)]
    tui: bool,
    #[command(flatten)]
    machine: Machine,
}

pub fn demo(args: &Demo, interrupt: &Interrupt) -> Result<(), Failure> {
    if args.tui {
        tui::check()?;
    }
    let config = RunConfig::parse(CONFIG, Path::new("configs/demo.toml"))?;
    run_config(&config, &args.out, Sharing::default(), &args.machine, args.tui, interrupt)
}
