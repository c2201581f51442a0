//! `vigor check`: whether a GPU computes what the processor does.

use clap::Args;
use vigor::model::ModelFiles;
use vigor::model::check;
use vigor::model::device::{Wanted, gpus};
use vigor::source::Kind;
use vigor::team::Team;

use super::common::Machine;
use super::exit::{FAILURE, Failure, USAGE};
use super::say::{say, tell};

/// Compare a GPU with the processor: logits in every weight format, a row in other company, draws.
#[derive(Args)]
#[command(after_help = "Examples:
  vigor check
  vigor check --devices 1 --model qwen2.5-coder-0.5b-instruct

Exits with 1 when something does not hold, with 7 when there is no GPU.")]
pub struct Check {
    /// A model to compare as well: a known name, or the path of a GGUF file or of a folder with safetensors.
    #[arg(long)]
    model: Option<String>,
    /// Fewer formats and sizes, for tools that slow the GPU down.
    #[arg(long)]
    quick: bool,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: Machine,
}

pub fn check(args: &Check) -> Result<(), Failure> {
    let placement = args.machine.placement()?;
    if placement.device == Wanted::Cpu || placement.gpus.len() > 1 {
        return Err(Failure::message(
            USAGE,
            "one GPU is compared with the processor: name it with --devices N",
        ));
    }
    let model = match &args.model {
        Some(name) => {
            let found = args.machine.find(name, Kind::Model)?;
            let open = || ModelFiles::named(&found.name, &found.path);
            Some([open()?, open()?])
        }
        None => None,
    };
    let mut watch = |check: &check::Check| {
        if args.json {
            tell!("{}", check.line());
        } else {
            say!("{}", check.line());
        }
    };
    let compare = || check::check(&placement, model, args.quick, &mut watch);
    let checks = Team::new(args.machine.threads()).install(compare)?;
    let device = gpus()?.get(placement.gpus.first().copied().unwrap_or(0)).map(|gpu| gpu.name.clone());
    if args.json {
        let document = serde_json::json!({ "device": device, "checks": checks });
        say!("{}", serde_json::to_string_pretty(&document).map_err(|e| Failure::new(FAILURE, e))?);
    }
    match checks.iter().filter(|check| !check.passed).count() {
        0 => Ok(()),
        failed => Err(Failure::message(
            FAILURE,
            format!("{failed} of {} checks failed: results of this GPU cannot be trusted", checks.len()),
        )),
    }
}
