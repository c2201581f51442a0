//! `vigor model`: listing, describing, checking and verifying models, through the binary; and that each check of a model
//! fails where what it is for does not hold.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use vigor::model::sampling::Logprobs;
use vigor::model::sampling::sampler::argmax;
use vigor::model::self_check::{self, Companions, Golden};
use vigor::model::tokenizer::Tokenizer;
use vigor::model::{LanguageModel, LogitRows, ModelError, Span, random};
use vigor::source::sha256_bytes;

mod home;

use home::{Home, assert_fails, text};

const BIN: &str = env!("CARGO_BIN_EXE_vigor");

// The exit codes that `vigor --help` documents.
const FAILURE: i32 = 1;
const USAGE: i32 = 2;
const BAD_INPUT: i32 = 3;
const NOT_FOUND: i32 = 4;

impl Home {
    fn vigor(&self, arguments: &[&str]) -> Output {
        self.command(BIN).env("HF_HUB_OFFLINE", "1").args(arguments).output().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.vigor(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// A tiny checkpoint with a tokenizer, in a folder of this name.
    fn checkpoint(&self, name: &str) -> PathBuf {
        let folder = self.path(name);
        fs::create_dir(&folder).unwrap();
        for entry in fs::read_dir(tiny().join(name)).unwrap() {
            let entry = entry.unwrap();
            if !entry.file_name().to_string_lossy().starts_with("golden") {
                fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
            }
        }
        fs::write(folder.join("tokenizer.json"), random::byte_tokenizer()).unwrap();
        folder
    }

    /// A manifest of the user's for the files of a folder, under the name `mine`.
    fn manifest(&self, folder: &Path, more: &str) {
        let mut files = String::new();
        for entry in fs::read_dir(folder).unwrap() {
            let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
            let (bytes, sha256) = (fs::metadata(&path).unwrap().len(), sha256(&path));
            files += &format!("[[files]]\nname = {name:?}\nbytes = {bytes}\nsha256 = {sha256:?}\n");
        }
        let text = format!(
            "kind = 'model'\nname = 'mine'\naliases = ['my-model']\ntitle = 'Mine'\nlicence = 'MIT'\n\
             format = 'safetensors'\n{files}\n[[sources]]\nfrom = 'path'\npath = {folder:?}\n{more}"
        );
        fs::create_dir_all(self.path("config/models")).unwrap();
        fs::write(self.path("config/models/mine.toml"), text).unwrap();
    }
}

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tiny")
}

fn sha256(path: &Path) -> String {
    sha256_bytes(&fs::read(path).unwrap())
}

/// Numbers in all safetensors files of a folder, by their headers.
fn numbers_in(folder: &Path) -> u64 {
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "safetensors") {
            continue;
        }
        let bytes = fs::read(path).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: serde_json::Map<String, Value> = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        let tensors = header.iter().filter(|(name, _)| *name != "__metadata__");
        for shape in tensors.map(|(_, tensor)| tensor["shape"].as_array().unwrap()) {
            count += shape.iter().map(|size| size.as_u64().unwrap()).product::<u64>();
        }
    }
    count
}

fn config(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap()
}

#[test]
fn every_subcommand_has_help_with_an_example() {
    let home = Home::new();
    for command in ["list", "pull", "show", "check", "verify"] {
        let help = home.vigor(&["model", command, "--help"]);
        let (_, example) =
            text(&help.stdout).split_once("Example").map(|(a, b)| (a.len(), b.to_owned())).unwrap();
        assert!(example.contains(&format!("vigor model {command}")), "{example}");
    }
    assert!(text(&home.vigor(&["model", "--help"]).stdout).contains("vigor model show"));
    for arguments in [&["model"][..], &["model", "pull"], &["model", "verify"], &["model", "show"]] {
        assert_eq!(home.vigor(arguments).status.code(), Some(USAGE), "{arguments:?}");
    }
}

/// What is shown of every family is what its files hold.
#[test]
fn parameters_are_the_numbers_in_the_files() {
    let home = Home::new();
    for entry in fs::read_dir(tiny()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let folder = home.checkpoint(&name);
        let shown = home.json(&["model", "show", folder.to_str().unwrap(), "--json"]);
        assert_eq!(shown["parameters"], numbers_in(&folder), "{name}");
        let config = config(&folder);
        let model_type = config["text_config"]["model_type"].as_str().or(config["model_type"].as_str());
        assert_eq!(shown["architecture"].as_str(), model_type, "{name}");
        assert_eq!(shown["vocabulary"], 256, "{name}");
        assert_eq!(shown["tokenizer"]["kind"], "byte-level BPE", "{name}");
        assert_eq!(shown["chat_template"], false, "{name}");
        let sizes = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
        assert_eq!(shown["bytes"], sizes.sum::<u64>(), "{name}");
        // Nothing has been hashed before.
        assert!(shown["files"].as_array().unwrap().iter().all(|file| file["sha256"].is_null()), "{name}");
    }
}

#[test]
fn show_tells_what_is_special_about_a_family() {
    let home = Home::new();
    let show = |name: &str| {
        let folder = home.checkpoint(name);
        let shown = home.json(&["model", "show", folder.to_str().unwrap(), "--context", "64", "--json"]);
        let table = text(&home.vigor(&["model", "show", folder.to_str().unwrap()]).stdout);
        (config(&folder), shown, table)
    };
    let (_, llama, table) = show("llama-linear-f32");
    assert_eq!((&llama["rotary"]["scaling"], &llama["rotary"]["factor"]), (&json!("linear"), &json!(4.0)));
    assert_eq!(llama["missing_on_gpu"], Value::Null);
    assert_eq!(llama["active_parameters"], Value::Null);
    assert_eq!(
        llama["kv_cache"]["bytes"].as_u64(),
        llama["kv_bytes_per_token"].as_u64().map(|bytes| 64 * bytes)
    );
    assert_eq!(
        llama["kv_cache"]["bytes_gpu"].as_u64(),
        llama["kv_cache"]["bytes"].as_u64().map(|bytes| bytes / 2)
    );
    assert!(table.contains("linear by 4"), "{table}");

    let (config, moe, table) = show("qwen3-moe-f32");
    let size = |key: &str| config[key].as_u64().unwrap();
    let (hidden, heads) =
        (size("hidden_size"), 2 * size("num_attention_heads") + 2 * size("num_key_value_heads"));
    let experts = size("num_experts") * hidden
        + size("num_experts_per_tok") * 3 * hidden * size("moe_intermediate_size");
    let layers = size("num_hidden_layers");
    assert_eq!(moe["active_parameters"], layers * (heads * size("head_dim") * hidden + experts));
    assert_eq!(moe["missing_on_gpu"].as_str().unwrap(), "norms of queries and keys");
    assert_eq!(moe["kv_cache"]["bytes_gpu"], Value::Null);
    assert!(table.contains("2 of 8 experts") && table.contains("not yet: norms"), "{table}");

    let (config, gemma, table) = show("gemma2-f32");
    let layers = config["num_hidden_layers"].as_u64().unwrap();
    assert_eq!(gemma["sliding_window"], json!({ "positions": 8, "layers": layers.div_ceil(2) }));
    assert_eq!(gemma["score_cap"], config["attn_logit_softcapping"]);
    assert_eq!(gemma["logit_cap"], config["final_logit_softcapping"]);
    assert!(table.contains("8 positions in"), "{table}");

    let (config, deepseek, _) = show("deepseek2-f32");
    assert_eq!(deepseek["latent_size"], config["kv_lora_rank"]);
    let expanded = config["qk_nope_head_dim"].as_u64().unwrap()
        + config["qk_rope_head_dim"].as_u64().unwrap()
        + config["v_head_dim"].as_u64().unwrap();
    let heads =
        config["num_attention_heads"].as_u64().unwrap() * config["num_hidden_layers"].as_u64().unwrap();
    assert_eq!(deepseek["kv_bytes_per_token"], 4 * heads * expanded);

    let (_, phi, _) = show("phi3-longrope-f32");
    assert_eq!(phi["rotary"]["scaling"], "longrope");
    assert_eq!(phi["rotary"]["original_context"], 16);
    let (_, starcoder, table) = show("gpt-bigcode-f32");
    assert_eq!((&starcoder["rotary"], &starcoder["kv_heads"]), (&Value::Null, &json!(1)));
    assert!(table.contains("a learned vector for each"), "{table}");
    // Its end token is a byte that a terminal would obey.
    assert!(!table.chars().any(|c| c != '\n' && c.is_control()), "{table:?}");
}

#[test]
fn a_random_shape_is_shown_without_its_weights() {
    let home = Home::new();
    let name = "random:deepseek-coder-1.3b";
    let table = text(&home.vigor(&["model", "show", name, "--context", "1000"]).stdout);
    for words in ["1,346,471,936", "393,216 bytes a token, 375.0 MiB for 1,000", "196,608 bytes, 187.5 MiB"] {
        assert!(table.contains(words), "{words:?} is not in: {table}");
    }
    let far = home.vigor(&["model", "show", name, "--context", "100000"]);
    assert!(text(&far.stderr).contains("made for 16,384 tokens"), "{}", text(&far.stderr));
    assert_fails(&home.vigor(&["model", "show", "random:nothing"]), BAD_INPUT, &["nothing", "tiny"]);
    assert_eq!(home.vigor(&["model", "show", name, "--context", "0"]).status.code(), Some(USAGE));
}

/// A file of 64 GiB, of which the disk holds the header alone.
#[test]
fn a_model_larger_than_the_memory_is_shown() {
    let home = Home::new();
    let folder = home.checkpoint("llama-linear-f32");
    let mut config = config(&folder);
    (config["vocab_size"], config["hidden_size"]) = (json!(1 << 20), json!(1 << 15));
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let bytes = 1u64 << 36;
    let header = json!({ "model.embed_tokens.weight": {
        "dtype": "BF16", "shape": [1 << 20, 1 << 15], "data_offsets": [0, bytes],
    } });
    let header = header.to_string();
    let mut start = (header.len() as u64).to_le_bytes().to_vec();
    start.extend(header.bytes());
    let path = folder.join("model.safetensors");
    fs::write(&path, &start).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(start.len() as u64 + bytes).unwrap();
    let table = text(&home.vigor(&["model", "show", folder.to_str().unwrap()]).stdout);
    assert!(table.contains("64.0 GiB") && table.contains("BF16×1"), "{table}");
}

#[test]
fn damaged_files_and_unknown_names_are_one_clear_error() {
    let home = Home::new();
    let folder = home.checkpoint("llama-bf16");
    let weights = folder.join("model.safetensors");
    let whole = fs::metadata(&weights).unwrap().len();
    fs::File::options().write(true).open(&weights).unwrap().set_len(whole - 100).unwrap();
    for command in ["show", "check"] {
        let output = home.vigor(&["model", command, folder.to_str().unwrap()]);
        assert_fails(&output, BAD_INPUT, &["model.safetensors", "truncated"]);
        assert_fails(&home.vigor(&["model", command, "nothing"]), NOT_FOUND, &["nothing", "smollm2"]);
        assert_fails(&home.vigor(&["model", command, "smollm2"]), NOT_FOUND, &["smollm2", "it has no"]);
        assert_fails(&home.vigor(&["model", command, "./config.json"]), NOT_FOUND, &["config.json"]);
    }
    assert_fails(&home.vigor(&["model", "show", "smollm2"]), NOT_FOUND, &["vigor pull smollm2"]);
    assert_fails(&home.vigor(&["model", "verify", "smollm2"]), NOT_FOUND, &["vigor pull smollm2"]);

    // What the files do not fit, the description does not hide.
    let folder = home.checkpoint("qwen3-bf16");
    fs::write(folder.join("tokenizer.json"), "{").unwrap();
    let shown = home.json(&["model", "show", folder.to_str().unwrap(), "--json"]);
    assert_eq!(shown["tokenizer"], Value::Null);
    assert!(shown["tokenizer_error"].as_str().unwrap().contains("tokenizer.json"), "{shown}");
}

#[test]
fn every_family_passes_its_check() {
    let home = Home::new();
    for name in ["llama-bf16", "qwen3-moe-f32", "gemma2-f32", "gpt-bigcode-f32", "phi3-longrope-f32"] {
        let folder = home.checkpoint(name);
        let output = home.vigor(&["model", "check", folder.to_str().unwrap(), "--threads", "2"]);
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{name}: {shown}{}", text(&output.stderr));
        assert_eq!(shown.lines().filter(|line| line.starts_with('✓')).count(), 5, "{name}: {shown}");
        assert!(
            shown.contains("– greedy continuation") && shown.contains("no golden to compare with"),
            "{shown}"
        );
    }
    let report = home.json(&["model", "check", "random:tiny", "--json"]);
    let checks = report["checks"].as_array().unwrap();
    assert!(checks.len() == 5 && checks.iter().all(|check| check["passed"] == true), "{report}");
    assert_eq!(report["not_checked"].as_array().unwrap().len(), 2, "{report}");
}

/// transformers says what follows the first prompt of a tiny checkpoint.
#[test]
fn a_golden_in_the_manifest_decides() {
    let home = Home::new();
    let name = "qwen2-tied-f16";
    let folder = home.checkpoint(name);
    let golden: Value =
        serde_json::from_slice(&fs::read(tiny().join(name).join("golden.json")).unwrap()).unwrap();
    let prompt = &golden["prompts"][0];
    let logits = fs::read(tiny().join(name).join("golden.bin")).unwrap();
    let logits: Vec<f32> = logits.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let last = prompt.as_array().unwrap().len() - 1;
    let next = argmax(&logits[256 * last..256 * (last + 1)]);
    let other = (next + 1) % 256;

    home.manifest(&folder, &format!("[golden]\ntokens = {prompt}\ncontinuation = [{next}]\n"));
    let output = home.vigor(&["model", "check", "mine"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("✓ greedy continuation"), "{}", text(&output.stdout));

    home.manifest(&folder, &format!("[golden]\ntokens = {prompt}\ncontinuation = [{other}]\n"));
    let output = home.vigor(&["model", "check", "mine"]);
    assert_fails(&output, FAILURE, &["1 of 6 checks failed"]);
    let shown = text(&output.stdout);
    let line = shown.lines().find(|line| line.starts_with("✗ greedy continuation")).expect(&shown);
    assert!(line.contains(&format!("IS {next} ")) && line.contains(&format!("NOT {other} ")), "{line}");

    for (golden, words) in [
        ("tokens = []\ncontinuation = [1]", "golden"),
        ("tokens = [1]\ncontinuation = [1]\nprompt = 'x'", "prompt"),
    ] {
        home.manifest(&folder, &format!("[golden]\n{golden}\n"));
        assert_fails(&home.vigor(&["model", "check", "mine"]), BAD_INPUT, &["mine.toml", words]);
    }
}

/// The built-in goldens: what F32 arithmetic says, and the chat templates of real models.
#[test]
fn the_known_models_pass_their_check() {
    for name in ["smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct"] {
        let output = Command::new(BIN).args(["model", "check", name]).output().unwrap();
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{shown}{}", text(&output.stderr));
        assert_eq!(shown.lines().filter(|line| line.starts_with('✓')).count(), 7, "{shown}");
        assert!(shown.contains("16 tokens are those of the golden"), "{shown}");
    }
}

#[test]
fn list_pull_show_and_verify_follow_a_model() {
    let home = Home::new();
    let folder = home.checkpoint("starcoder2-bf16");
    home.manifest(&folder, "");
    let entry =
        |list: Value| list.as_array().unwrap().iter().find(|model| model["name"] == "mine").cloned().unwrap();
    assert_eq!(entry(home.json(&["model", "list", "--json"]))["here"], false);
    assert_fails(&home.vigor(&["model", "show", "mine"]), NOT_FOUND, &["vigor pull mine"]);

    let pulled = home.vigor(&["model", "pull", "my-model"]);
    assert_eq!(pulled.status.code(), Some(0), "{}", text(&pulled.stderr));
    let listed = entry(home.json(&["model", "list", "--json"]));
    assert_eq!((&listed["here"], &listed["licence"]), (&json!(true), &json!("MIT")));
    let lines = text(&home.vigor(&["model", "list"]).stdout);
    assert!(lines.lines().any(|line| line.contains("mine") && line.contains("here")), "{lines}");
    assert!(text(&home.vigor(&["pull", "--list"]).stdout).starts_with(&lines));

    let shown = home.json(&["model", "show", "my-model", "--json"]);
    assert_eq!((&shown["title"], &shown["licence"]), (&json!("Mine"), &json!("MIT")));
    assert!(shown["files"].as_array().unwrap().iter().all(|file| file["sha256"].is_string()), "{shown}");

    let verified = home.vigor(&["model", "verify", "mine"]);
    let (weights, sha256) =
        (home.path("cache/models/mine/model.safetensors"), sha256(&folder.join("model.safetensors")));
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stderr));
    assert!(
        text(&verified.stdout).contains(&format!("✓ {sha256}  {}", weights.display())),
        "{}",
        text(&verified.stdout)
    );

    // One bit, size and time as before: what was remembered says nothing of it.
    let modified = fs::metadata(&weights).unwrap().modified().unwrap();
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, &bytes).unwrap();
    fs::File::options().write(true).open(&weights).unwrap().set_modified(modified).unwrap();
    assert_eq!(entry(home.json(&["model", "list", "--json"]))["here"], true);
    let verified = home.vigor(&["model", "verify", "mine"]);
    assert_fails(&verified, BAD_INPUT, &["model.safetensors", &sha256, "fetch it again"]);
    let shown = text(&verified.stdout);
    assert_eq!(shown.lines().filter(|line| line.starts_with('✗')).count(), 1, "{shown}");
    assert_eq!(fs::read(&weights).unwrap(), bytes, "nothing is changed or deleted");
    assert_eq!(entry(home.json(&["model", "list", "--json"]))["here"], false);

    // Without a manifest: what it was before, if that is known.
    let first = text(&home.vigor(&["model", "verify", folder.to_str().unwrap()]).stdout);
    assert!(first.contains("nothing to compare with"), "{first}");
    let second = text(&home.vigor(&["model", "verify", folder.to_str().unwrap()]).stdout);
    assert!(second.starts_with('✓') && !second.contains("nothing to compare with"), "{second}");
}

/// A model that says what depends on all tokens so far, and does one thing wrong.
struct Fake {
    flaw: Flaw,
    vocab: usize,
    pages: HashMap<(u32, usize), u32>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Flaw {
    None,
    NotNormalised,
    NotFinite,
    SingleTokensDiffer,
    CompanyMatters,
    PagesAreLost,
}

impl Fake {
    fn new(flaw: Flaw) -> Self {
        Self { flaw, vocab: 256, pages: HashMap::new() }
    }

    fn row(&self, pages: &[u32], position: usize, spans: &[Span<'_>], alone: bool) -> Vec<f32> {
        let mut state = 1u64;
        for at in 0..=position {
            let token = self.pages[&(pages[at / 32], at % 32)];
            state = (state ^ u64::from(token)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
        }
        let logit = |i: u64| ((state.wrapping_mul(2 * i + 1) >> 40) as f32) / (1u64 << 24) as f32;
        let logits: Vec<f32> = (0..self.vocab as u64).map(logit).collect();
        let total = logits.iter().map(|&x| f64::from(x).exp()).sum::<f64>().ln() as f32;
        let mut row: Vec<f32> = logits.iter().map(|x| x - total).collect();
        match self.flaw {
            Flaw::NotNormalised => row.iter_mut().for_each(|x| *x += 0.001),
            Flaw::NotFinite if position == 3 => row[7] = f32::NEG_INFINITY,
            Flaw::SingleTokensDiffer if alone && position > 0 => row[0] = row[0].next_up(),
            Flaw::CompanyMatters if spans.len() > 1 => row[0] = row[0].next_up(),
            _ => {}
        }
        row
    }
}

impl LanguageModel for Fake {
    fn vocab(&self) -> usize {
        self.vocab
    }

    fn context(&self) -> usize {
        512
    }

    fn page_len(&self) -> usize {
        32
    }

    fn pages(&self) -> usize {
        16
    }

    fn copy_page(&mut self, _: u32, _: u32) -> Result<(), ModelError> {
        Ok(())
    }

    fn forward(&mut self, spans: &[Span<'_>]) -> Result<Vec<Logprobs>, ModelError> {
        for span in spans {
            for (i, token) in span.tokens.iter().enumerate() {
                let at = span.start + i;
                let slot = if self.flaw == Flaw::PagesAreLost { 5 } else { span.pages[at / 32] };
                self.pages.insert((slot, at % 32), *token);
                self.pages.entry((span.pages[at / 32], at % 32)).or_default();
            }
        }
        let mut rows = Vec::new();
        for span in spans {
            let alone = spans.len() == 1 && span.tokens.len() == 1;
            let wanted = match span.logits {
                LogitRows::None => 0,
                LogitRows::Last => 1,
                LogitRows::All => span.tokens.len(),
            };
            for i in span.tokens.len() - wanted..span.tokens.len() {
                rows.push(Logprobs::on_host(self.row(span.pages, span.start + i, spans, alone)));
            }
        }
        Ok(rows)
    }
}

/// The names of the checks that fail.
fn failing(model: &mut Fake, with: &Companions<'_>) -> Vec<String> {
    let report = self_check::check(model, with, &mut |_| {}).unwrap();
    report.checks.iter().filter(|check| !check.passed).map(|check| check.name.clone()).collect()
}

#[test]
fn each_check_fails_where_its_promise_does_not_hold() {
    let tokenizer = random::tokenizer().unwrap();
    let with = Companions { tokenizer: &tokenizer, chat_template: None, golden: None };
    let none: [&str; 0] = [];
    assert_eq!(failing(&mut Fake::new(Flaw::None), &with), none);
    assert_eq!(failing(&mut Fake::new(Flaw::NotNormalised), &with), ["log-probabilities"]);
    assert_eq!(failing(&mut Fake::new(Flaw::NotFinite), &with), ["log-probabilities"]);
    assert_eq!(failing(&mut Fake::new(Flaw::SingleTokensDiffer), &with), ["token by token"]);
    assert_eq!(failing(&mut Fake::new(Flaw::CompanyMatters), &with), ["beside another sequence"]);
    assert!(!failing(&mut Fake::new(Flaw::PagesAreLost), &with).is_empty());
    let mut small = Fake { vocab: 100, ..Fake::new(Flaw::None) };
    assert_eq!(failing(&mut small, &with), ["tokenizer and model"]);

    let template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}";
    let said = |source| Companions { chat_template: Some(source), ..with };
    assert_eq!(failing(&mut Fake::new(Flaw::None), &said(template)), none);
    for wrong in [
        "{{ messages[0].content }}",
        "{% for m in messages[::-1] %}{{ m.content }}{% endfor %}",
        "{{ raise_exception('no') }}",
        "{% if %}",
    ] {
        assert_eq!(failing(&mut Fake::new(Flaw::None), &said(wrong)), ["chat template"], "{wrong}");
    }

    let mut lower: Value = serde_json::from_str(&random::byte_tokenizer()).unwrap();
    lower["normalizer"] = json!({ "type": "Lowercase" });
    let lower = Tokenizer::from_json(&lower.to_string(), "the bytes").unwrap();
    let lossy = Companions { tokenizer: &lower, ..with };
    assert_eq!(failing(&mut Fake::new(Flaw::None), &lossy), ["text to tokens and back"]);

    let (long, far) = ([1; 600], [999]);
    for golden in [
        Golden { tokens: &[1, 2], continuation: &long },
        Golden { tokens: &far, continuation: &[1] },
        Golden { tokens: &[1, 2], continuation: &far },
    ] {
        let with = Companions { golden: Some(golden), ..with };
        assert_eq!(failing(&mut Fake::new(Flaw::None), &with), ["greedy continuation"]);
    }
}
