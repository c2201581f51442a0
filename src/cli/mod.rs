//! The command line: one file a subcommand. Each parses its arguments into what the library needs, prints what
//! comes of it, and leaves with a documented exit code.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, CommandFactory, Parser, Subcommand};

mod bench;
mod check;
mod common;
mod compare;
mod demo;
mod diff;
mod doctor;
mod eval;
mod exec;
mod exit;
mod generate;
mod merge;
mod model;
mod progress;
mod pull;
mod replay;
mod report;
mod run;
mod say;
mod slurm;
mod tui;

use exit::Failure;
use say::{say, tell};

/// Write Python programs with a local code model, one line at a time, guided by execution.
#[derive(Parser)]
#[command(version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  vigor demo                                     solve three tasks with every method
  vigor generate --task HumanEval/0 --show steps watch one task being solved
  vigor run configs/gamma.toml                   run an experiment, or go on with it
  vigor report runs/gamma                        its tables and pages
  vigor eval runs/gamma                          its numbers, with intervals and comparisons
  vigor eval --dataset humaneval --samples s.jsonl   score samples that were made elsewhere

Exit codes:
  0 success   1 failure, or differences found   2 wrong usage   3 bad input (configuration, model, dataset)
  4 a model or dataset cannot be had   5 no usable Python or sandbox   6 a file cannot be written
  7 a GPU cannot be used, or has not enough memory   20–28 the verdicts of `vigor exec`, see its --help
  130 interrupted; a run goes on where it stopped when the same command is given again";

#[derive(Subcommand)]
enum Command {
    Demo(demo::Demo),
    Pull(pull::Pull),
    Model(model::Model),
    Generate(generate::Generate),
    Run(run::Run),
    Merge(merge::Merge),
    Report(report::Report),
    Replay(replay::Replay),
    Compare(compare::Compare),
    Diff(diff::Diff),
    Bench(bench::Bench),
    Check(check::Check),
    Exec(exec::Exec),
    Eval(eval::Eval),
    Doctor(doctor::Doctor),
    Completions(Completions),
}

/// Print a completion script for a shell.
#[derive(Args)]
#[command(
    after_help = "Example:\n  vigor completions bash > ~/.local/share/bash-completion/completions/vigor"
)]
struct Completions {
    /// The shell.
    shell: clap_complete::Shell,
}

/// Set by Ctrl-C. Sessions look at it and end.
pub type Interrupt = Arc<AtomicBool>;

/// True while somebody looks at the [`Interrupt`]. Before that, and after, there is nothing to end cleanly: what
/// a command fetches or writes then is whole or absent whenever it stops.
static WATCHED: AtomicBool = AtomicBool::new(false);

/// Does work that ends by itself soon after Ctrl-C.
fn watched<T>(work: impl FnOnce() -> T) -> T {
    WATCHED.store(true, Ordering::SeqCst);
    let result = work();
    WATCHED.store(false, Ordering::SeqCst);
    result
}

/// What Ctrl-C does: it ends [`watched`] work cleanly, and everything at once the second time.
fn on_interrupt(flag: &Interrupt) {
    // The second time the user means it.
    if flag.swap(true, Ordering::SeqCst) || !WATCHED.load(Ordering::SeqCst) {
        tui::leave();
        tell!("\ninterrupted");
        std::process::exit(i32::from(exit::INTERRUPTED));
    }
    // The dashboard says so itself.
    if !tui::is_open() {
        tell!("\nstopping; press Ctrl-C again to stop at once");
    }
}

/// Parses the arguments, runs the command, prints an error as one sentence.
pub fn main() -> ExitCode {
    // The sandbox starts this executable again as its launcher; nothing else of it may run then.
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|a| a == vigor::sandbox::launcher::LAUNCHER_COMMAND) {
        return ExitCode::from(vigor::sandbox::launcher_main(&arguments[2..]) as u8);
    }
    let cli = Cli::parse();
    let interrupt = Interrupt::default();
    let flag = interrupt.clone();
    let handler = ctrlc::set_handler(move || on_interrupt(&flag));
    if let Err(error) = handler {
        tell!("warning: Ctrl-C will not end cleanly: {error}");
    }
    let result = match cli.command {
        Command::Demo(args) => demo::demo(&args, &interrupt),
        Command::Pull(args) => pull::pull(&args),
        Command::Model(args) => model::model(&args),
        Command::Generate(args) => generate::generate(&args, &interrupt),
        Command::Run(args) => run::run(&args, &interrupt),
        Command::Merge(args) => merge::merge(&args),
        Command::Report(args) => report::report(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Compare(args) => compare::compare(&args),
        Command::Diff(args) => diff::diff(&args),
        Command::Bench(args) => bench::bench(&args, &interrupt),
        Command::Check(args) => check::check(&args),
        Command::Exec(args) => match exec::exec(&args) {
            Ok(code) => return ExitCode::from(code),
            Err(failure) => Err(failure),
        },
        Command::Eval(args) => eval::eval(&args, &interrupt),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "vigor", &mut script);
            say!("{}", String::from_utf8_lossy(&script).trim_end());
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let Failure { code, error } = failure;
            if code == exit::INTERRUPTED {
                tell!("{error}");
            } else {
                tell!("error: {}", sentence(&error));
            }
            ExitCode::from(code)
        }
    }
}

/// An error with its causes, as far as the error itself does not tell them already.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
