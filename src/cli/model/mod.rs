//! `vigor model`: what models there are, what they are, and whether they are whole.

use clap::{Args, Subcommand};
use vigor::source::{Kind, Places};

use super::exit::{FAILURE, Failure};
use super::pull::{fetch, known};
use super::say::say;

mod check;
mod show;
mod verify;

/// List, fetch, describe and check models.
#[derive(Args)]
#[command(after_help = "Examples:
  vigor model list                               the known models, and which are here
  vigor model pull coder0.5b                     fetch one
  vigor model show coder0.5b --context 8192      its sizes, and the memory that 8,192 tokens take
  vigor model check ./my-model                   whether it is whole and computes what it should
  vigor model verify coder0.5b                   whether its files are still what they were")]
pub struct Model {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    List(List),
    Pull(Pull),
    Show(show::Show),
    Check(check::Check),
    Verify(verify::Verify),
}

/// List the models that have a name, and which of them are here.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  vigor model list\n  vigor model list --json | jq -r '.[] | select(.here) | .name'"
)]
struct List {
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Fetch models, and check them, as `vigor pull` does.
#[derive(Args)]
#[command(after_help = "Examples:\n  vigor model pull smollm2\n  vigor model pull Qwen/Qwen3-0.6B")]
struct Pull {
    /// Names of models, or repositories of the Hugging Face hub.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

pub fn model(args: &Model) -> Result<(), Failure> {
    match &args.command {
        Command::List(args) => list(args),
        Command::Pull(args) => args.names.iter().try_for_each(|name| fetch(name, Kind::Model)),
        Command::Show(args) => show::show(args),
        Command::Check(args) => check::check(args),
        Command::Verify(args) => verify::verify(args),
    }
}

fn list(args: &List) -> Result<(), Failure> {
    let models = known(Kind::Model, &Places::from_env()?)?;
    if !args.json {
        models.iter().for_each(super::pull::Known::print);
        return Ok(());
    }
    let entries: Vec<serde_json::Value> = models
        .iter()
        .map(|model| {
            let manifest = &model.manifest;
            serde_json::json!({
                "name": manifest.name,
                "aliases": manifest.aliases,
                "title": manifest.title,
                "licence": manifest.licence,
                "bytes": manifest.bytes(),
                "here": model.path.is_some(),
                "path": model.path,
            })
        })
        .collect();
    document(&entries)
}

/// Prints one JSON document.
fn document(value: &impl serde::Serialize) -> Result<(), Failure> {
    say!("{}", serde_json::to_string_pretty(value).map_err(|e| Failure::new(FAILURE, e))?);
    Ok(())
}
