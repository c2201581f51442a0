//! `vigor model check`: whether a model is whole and computes what it should.

use clap::Args;
use vigor::model::self_check::{self, Companions, Golden};
use vigor::model::{ModelFiles, check};
use vigor::source::{Chat, Kind};
use vigor::team::Team;

use super::super::common::{find, processors};
use super::super::exit::{FAILURE, Failure};
use super::super::say::{say, tell};
use super::document;

/// Load a model on the processor and check it: probabilities, tokens in other company, tokenizer, chat template, and what
/// it is known to say.
#[derive(Args)]
#[command(after_help = "Examples:
  vigor model check coder0.5b
  vigor model check ./my-model --json

Exits with 1 when something does not hold. What a model is known to say stands in its manifest:
docs/sources.md.")]
pub struct Check {
    /// A known name, a repository of the hub, or the path of a GGUF file or of a folder with safetensors.
    #[arg(value_name = "NAME|PATH")]
    name: String,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    /// Threads for the model [default: all processors].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Use only files that are here already; open no connection.
    #[arg(long)]
    offline: bool,
}

pub fn check(args: &Check) -> Result<(), Failure> {
    let found = find(&args.name, Kind::Model, args.offline)?;
    let manifest = found.manifest.as_ref();
    let files = ModelFiles::named(&found.name, &found.path)?;
    let tokenizer = files.tokenizer(&found.path)?;
    let is_base = manifest.is_some_and(|manifest| manifest.chat == Some(Chat::None));
    let golden = manifest.and_then(|manifest| manifest.golden.as_ref());
    let companions = Companions {
        tokenizer: &tokenizer,
        chat_template: tokenizer.chat_template().filter(|_| !is_base),
        golden: golden.map(|golden| Golden { tokens: &golden.tokens, continuation: &golden.continuation }),
    };
    let shown = |text: String| if args.json { tell!("{text}") } else { say!("{text}") };
    let mut watch = |check: &check::Check| shown(check.line());

    tell!("loading {} on the processor", found.name);
    let threads = args.threads.filter(|&n| n > 0).unwrap_or_else(processors);
    let report = Team::new(threads).install(|| {
        let mut model = self_check::load(files)?;
        self_check::check(&mut model, &companions, &mut watch)
    })?;
    report.not_checked.iter().for_each(|missing| shown(format!("– {:<44} {}", missing.name, missing.why)));
    if args.json {
        document(&serde_json::json!({
            "name": found.name,
            "sha256": found.sha256,
            "checks": report.checks,
            "not_checked": report.not_checked,
        }))?;
    }
    match report.checks.iter().filter(|check| !check.passed).count() {
        0 => Ok(()),
        failed => Err(Failure::message(
            FAILURE,
            format!(
                "{failed} of {} checks failed: results of this model cannot be trusted",
                report.checks.len()
            ),
        )),
    }
}
