//! `vigor model show`: what a model's files say, without loading its weights.

use std::borrow::Cow;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use vigor::model::describe::{Description, FeedForward, Rotary};
use vigor::model::tokenizer::{Tokenizer, TokenizerError};
use vigor::model::{ModelConfig, ModelFiles, random};
use vigor::source::{Chat, FileHere, Here, Kind, here};

use super::super::common::one_or_more;
use super::super::exit::Failure;
use super::super::say::{say, tell};
use super::document;

/// Show what a model is: sizes, memory for keys and values, tokenizer, files. No weights are loaded.
#[derive(Args)]
#[command(after_help = "Examples:
  vigor model show coder0.5b
  vigor model show ./my-model --context 8192
  vigor model show random:deepseek-coder-6.7b --json | jq .kv_cache

`active` counts, of a mixture of experts, the weights of the blocks' matrices that a token is
multiplied with: no embeddings, output projection, norms and biases.
Nothing is fetched and nothing hashed; `vigor model pull NAME` fetches a model first.")]
pub struct Show {
    /// A known name, a repository in the hub's cache, or the path of a GGUF file or of a folder with safetensors.
    #[arg(value_name = "NAME|PATH")]
    name: String,
    /// Tokens to give the memory of keys and values for [default: the model's context].
    #[arg(long, value_name = "N", value_parser = one_or_more)]
    context: Option<usize>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// All that is told of a model.
#[derive(Serialize)]
struct Model {
    name: String,
    title: Option<String>,
    licence: Option<String>,
    homepage: Option<String>,
    path: Option<PathBuf>,
    bytes: u64,
    files: Vec<File>,
    #[serde(flatten)]
    description: Description,
    kv_cache: KvCache,
    weight_types: serde_json::Map<String, serde_json::Value>,
    tokenizer: Option<Tokens>,
    /// Why the tokenizer cannot be used, if so.
    tokenizer_error: Option<String>,
    chat_template: bool,
}

#[derive(Serialize)]
struct File {
    path: PathBuf,
    bytes: u64,
    /// Where the file has been hashed before.
    sha256: Option<String>,
}

/// Memory for the keys and values of one sequence.
#[derive(Serialize)]
struct KvCache {
    tokens: usize,
    bytes: usize,
    bytes_gpu: Option<usize>,
}

#[derive(Serialize)]
struct Tokens {
    kind: &'static str,
    vocabulary: usize,
    begin: Option<Mark>,
    adds_begin: bool,
    ends: Vec<Mark>,
}

/// A control token.
#[derive(Serialize)]
struct Mark {
    id: u32,
    text: String,
}

pub fn show(args: &Show) -> Result<(), Failure> {
    let model = look(&args.name, args.context)?;
    if args.json {
        return document(&model);
    }
    for (label, value) in model.lines() {
        say!("{label:<14} {value}");
    }
    if model.kv_cache.tokens > model.description.context {
        tell!("note: the model was made for {} tokens", grouped(model.description.context));
    }
    Ok(())
}

/// Reads what the files say.
fn look(name: &str, context: Option<usize>) -> Result<Model, Failure> {
    if let Some(shape) = name.strip_prefix(random::PREFIX) {
        let config = random::shape(shape)?;
        let nothing = Here { name: name.to_owned(), path: PathBuf::new(), files: Vec::new(), manifest: None };
        return Ok(Model::new(nothing, &config, random::dtypes(&config), random::tokenizer(), context));
    }
    let found = here(name, Kind::Model)?;
    let files = ModelFiles::open(&found.path)?;
    let tokenizer = files.tokenizer(&found.path);
    Ok(Model::new(found, &files.config()?, files.dtypes(), tokenizer, context))
}

impl Model {
    fn new(
        found: Here,
        config: &ModelConfig,
        dtypes: Vec<(String, usize)>,
        tokenizer: Result<Tokenizer, TokenizerError>,
        context: Option<usize>,
    ) -> Self {
        let description = Description::new(config);
        let (tokenizer, tokenizer_error) = match tokenizer {
            Ok(tokenizer) => (Some(tokenizer), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let is_base = found.manifest.as_ref().is_some_and(|manifest| manifest.chat == Some(Chat::None));
        let tokens = context.unwrap_or(description.context);
        let bytes = |a_token: usize| a_token.saturating_mul(tokens);
        let (title, licence, homepage) = match found.manifest {
            Some(manifest) => (Some(manifest.title), Some(manifest.licence), manifest.homepage),
            None => (None, None, None),
        };
        Self {
            name: found.name,
            title,
            licence,
            homepage,
            path: Some(found.path).filter(|path| !path.as_os_str().is_empty()),
            bytes: found.files.iter().map(|file| file.bytes).sum(),
            files: found.files.into_iter().map(File::new).collect(),
            kv_cache: KvCache {
                tokens,
                bytes: bytes(description.kv_bytes_per_token),
                bytes_gpu: description.kv_bytes_per_token_gpu.map(bytes),
            },
            description,
            weight_types: dtypes.into_iter().map(|(name, n)| (name, n.into())).collect(),
            chat_template: !is_base && tokenizer.as_ref().is_some_and(|t| t.chat_template().is_some()),
            tokenizer: tokenizer.as_ref().map(Tokens::new),
            tokenizer_error,
        }
    }

    /// The table: what, and how much.
    fn lines(&self) -> Vec<(&'static str, String)> {
        let d = &self.description;
        let mut lines = vec![("name", self.name.clone())];
        let mut add = |label, value: Option<String>| lines.extend(value.map(|value| (label, value)));
        add("title", self.title.clone());
        add("licence", self.licence.clone());
        add("architecture", Some(d.architecture.to_owned()));
        add("parameters", Some(grouped(d.parameters)));
        let active = |n| format!("{} a token, in the matrices of the blocks", grouped(n));
        add("active", d.active_parameters.map(active));
        add("layers", Some(grouped(d.layers)));
        add("hidden size", Some(grouped(d.hidden_size)));
        add("heads", Some(heads(d)));
        add("feed-forward", Some(feed_forward(&d.feed_forward)));
        let tied = if d.tied_embeddings { ", embeddings and output tied" } else { "" };
        add("vocabulary", Some(format!("{}{tied}", grouped(d.vocabulary))));
        add("context", Some(grouped(d.context)));
        let learned = || "a learned vector for each".to_owned();
        add("positions", Some(d.rotary.as_ref().map_or_else(learned, rotary)));
        add("  local", d.local_rotary.as_ref().map(rotary));
        add(
            "window",
            d.sliding_window.as_ref().map(|window| {
                let positions = grouped(window.positions);
                format!("{positions} positions in {} of {} layers", window.layers, d.layers)
            }),
        );
        add("score cap", d.score_cap.map(|cap| cap.to_string()));
        add("logit cap", d.logit_cap.map(|cap| cap.to_string()));
        let types = self.weight_types.iter().map(|(name, n)| format!("{name}×{n}")).collect::<Vec<_>>();
        add("weights", Some(types.join(" ")));
        add("keys, values", Some(self.kv_text()));
        add(
            "GPU",
            Some(match d.missing_on_gpu {
                None => "yes".to_owned(),
                Some(what) => format!("not yet: {what}"),
            }),
        );
        let failed = || format!("cannot be used: {}", self.tokenizer_error.as_deref().unwrap_or_default());
        add("tokenizer", Some(self.tokenizer.as_ref().map_or_else(failed, Tokens::text)));
        add("begins with", self.tokenizer.as_ref().map(Tokens::begin));
        add("ends with", self.tokenizer.as_ref().map(Tokens::ends));
        add("chat template", Some(if self.chat_template { "yes" } else { "no" }.to_owned()));
        add("path", self.path.as_ref().map(|path| path.display().to_string()));
        add("size", self.path.as_ref().map(|_| size(self.bytes)));
        let width = self.files.iter().map(|file| file.name().chars().count()).max().unwrap_or(0);
        lines.extend(self.files.iter().map(|file| ("file", file.text(width))));
        lines
    }

    fn kv_text(&self) -> String {
        let (d, cache) = (&self.description, &self.kv_cache);
        let gpu = match (d.kv_bytes_per_token_gpu, cache.bytes_gpu) {
            (Some(a_token), Some(bytes)) => {
                format!("; on a GPU {} bytes, {}", grouped(a_token), size(bytes as u64))
            }
            _ => String::new(),
        };
        format!(
            "{} bytes a token, {} for {}{gpu}",
            grouped(d.kv_bytes_per_token),
            size(cache.bytes as u64),
            grouped(cache.tokens),
        )
    }
}

impl File {
    fn new(file: FileHere) -> Self {
        Self { path: file.path, bytes: file.bytes, sha256: file.sha256 }
    }

    fn name(&self) -> Cow<'_, str> {
        self.path.file_name().unwrap_or_default().to_string_lossy()
    }

    /// A line, with the name in a column of this width.
    fn text(&self, width: usize) -> String {
        let hash = self.sha256.as_ref().map_or_else(String::new, |hash| format!("  sha256 {hash}"));
        format!("{:<width$}  {:>10}{hash}", self.name(), size(self.bytes))
    }
}

impl Tokens {
    fn new(tokenizer: &Tokenizer) -> Self {
        let mark = |id: u32| Mark { id, text: tokenizer.decode_lossy(&[id]) };
        Self {
            kind: tokenizer.kind_of_vocabulary(),
            vocabulary: tokenizer.vocab_size(),
            begin: tokenizer.bos_id().map(mark),
            adds_begin: tokenizer.adds_bos(),
            ends: tokenizer.eos_ids().iter().copied().map(mark).collect(),
        }
    }

    fn text(&self) -> String {
        format!("{}, {} tokens", self.kind, grouped(self.vocabulary))
    }

    fn begin(&self) -> String {
        match &self.begin {
            Some(mark) if self.adds_begin => format!("{} before every prompt", mark.text()),
            Some(mark) => format!("{}, only where the chat template writes it", mark.text()),
            None => "nothing".to_owned(),
        }
    }

    fn ends(&self) -> String {
        match self.ends.as_slice() {
            [] => "nothing that the files name".to_owned(),
            marks => marks.iter().map(Mark::text).collect::<Vec<_>>().join(", "),
        }
    }
}

impl Mark {
    fn text(&self) -> String {
        // It comes from the model's files, and may hold what a terminal obeys.
        format!("{} ({})", self.text.escape_debug(), self.id)
    }
}

fn heads(d: &Description) -> String {
    let mut text = format!("{} of {}, {} of keys and values", d.heads, d.head_size, d.kv_heads);
    if d.value_size != d.head_size {
        text += &format!(", values of {}", d.value_size);
    }
    if let Some(latent) = d.latent_size {
        text += &format!(", from a latent vector of {latent}");
    }
    text
}

fn feed_forward(net: &FeedForward) -> String {
    let gated = if net.gated { "gated " } else { "" };
    let width = grouped(net.width);
    match &net.experts {
        None => format!("{width}, {gated}{}", net.activation),
        Some(experts) => {
            let shared = match experts.shared_width {
                0 => String::new(),
                width => format!(", {} beside them", grouped(width)),
            };
            format!(
                "{} of {} experts of {}{shared} in {} layers, else {width}; {gated}{}",
                experts.used,
                experts.count,
                grouped(experts.width),
                experts.layers,
                net.activation
            )
        }
    }
}

fn rotary(rope: &Rotary) -> String {
    let base = match rope.theta {
        whole if whole.fract() == 0.0 => grouped(whole as usize),
        theta => theta.to_string(),
    };
    let mut text = format!("rotary, {} of a head, base {base}", rope.turned);
    if let Some(scaling) = rope.scaling {
        text += &format!(", {scaling}");
    }
    if let Some(factor) = rope.factor {
        text += &format!(" by {factor}");
    }
    if let Some(context) = rope.original_context {
        text += &format!(" from {}", grouped(context));
    }
    text
}

/// A number with commas between thousands.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes, in the largest unit of which there is one.
fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(shift, _)| bytes >> shift > 0) {
        Some((shift, unit)) => format!("{:.1} {unit}", bytes as f64 / (1u64 << shift) as f64),
        None => format!("{bytes} bytes"),
    }
}
