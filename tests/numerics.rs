//! The numbers: logits against other implementations, guidance against NumPy.
//!
//! Truth is an F32 reference over the same (dequantised) weights; `tests/goldens/make.sh` makes the files anew.
//! The GGUF tests use the real models, which are fetched when they are not here.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use vigor::engine::Guidance;
use vigor::model::families::Architecture;
use vigor::model::rope::RopeScaling;
use vigor::model::safetensors::SafetensorsDir;
use vigor::model::{Decoder, LanguageModel, LogitRows, ModelFiles, Span};
use vigor::source::{FetchOptions, Kind, resolve};

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> T {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn floats(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("golden");
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

#[derive(Deserialize)]
struct Tiny {
    vocabulary: usize,
    prompts: Vec<Vec<u32>>,
}

/// Tiny random checkpoints of every architecture, in every format and variant, against `transformers` in F32.
#[test]
fn safetensors_agree_with_transformers() {
    let mut architectures = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(goldens().join("tiny")).expect("tests/goldens/tiny") {
        let dir = entry.expect("entry").path();
        let name = dir.file_name().expect("a name").to_string_lossy().into_owned();
        let golden: Tiny = read_json(&dir.join("golden.json"));
        let truth = floats(&dir.join("golden.bin"));
        let vocab = golden.vocabulary;
        let mut at = 0;
        for (i, prompt) in golden.prompts.iter().enumerate() {
            let mut model = tiny(&dir, prompt.len());
            architectures.insert(model.config().architecture.name());
            let pages = [1, 0];
            let mut logits = Vec::new();
            let span = Span { tokens: prompt, start: 0, pages: &pages, logits: LogitRows::All };
            model.logits(&[span], &mut logits);
            let truth = &truth[at..at + prompt.len() * vocab];
            at += truth.len();
            let scale = truth.iter().fold(0f32, |a, b| a.max(b.abs()));
            let worst = logits.iter().zip(truth).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            println!("{name}: prompt {i} deviates by {worst:.1e} of {scale:.1}");
            assert!(worst <= 1e-4 * scale.max(1.0), "{name}: prompt {i} deviates by {worst} of {scale}");

            // The same rows, bit for bit, when the prompt is read token by token beside another sequence.
            let mut single = Vec::new();
            for (position, token) in prompt.iter().enumerate() {
                let other = [position as u32, 7, 9];
                let spans = [
                    Span { tokens: &other, start: 0, pages: &[3], logits: LogitRows::None },
                    Span {
                        tokens: std::slice::from_ref(token),
                        start: position,
                        pages: &[2, 1],
                        logits: LogitRows::Last,
                    },
                ];
                model.logits(&spans, &mut single);
            }
            assert!(single == logits, "{name}: prompt {i} differs when read token by token");
        }
        assert_eq!(at, truth.len());
    }
    let missing: Vec<&str> = Architecture::names().filter(|name| !architectures.contains(name)).collect();
    assert!(missing.is_empty(), "no checkpoint of {missing:?}");
}

/// A tiny checkpoint for a prompt of `len` tokens. LongRoPE has other factors up to its original context; transformers takes
/// them by the prompt's length, we by the context that the model is run with.
fn tiny(dir: &Path, len: usize) -> Decoder {
    let mut config = SafetensorsDir::config(dir).expect("a valid configuration");
    if let Some(RopeScaling::Long { original_context, .. }) = config.rope().map(|rope| &rope.scaling)
        && len <= *original_context
    {
        config.context = *original_context;
    }
    let files = SafetensorsDir::open(dir).expect("valid files");
    Decoder::load(Box::new(files), config, 1 << 20).expect("a valid checkpoint")
}

#[derive(Deserialize)]
struct Header {
    steps: usize,
    prompts: Vec<Teacher>,
    llama_cpp: LlamaCpp,
}

#[derive(Deserialize)]
struct Teacher {
    tokens: Vec<u32>,
    continuation: Vec<u32>,
}

#[derive(Deserialize)]
struct LlamaCpp {
    best: Deviation,
}

#[derive(Deserialize)]
struct Deviation {
    mean_abs_subset: f64,
    max_abs_subset: f64,
    greedy_agreement: usize,
}

/// 20 prompts × 64 positions: deviation from the F32 truth no larger than llama.cpp's on the same positions and
/// tokens, and the same greedy token wherever the truth is not a near tie.
fn check_gguf(model: &str, golden: &str) {
    let header: Header = read_json(&goldens().join(format!("{golden}.logits.json")));
    let bytes = std::fs::read(goldens().join(format!("{golden}.logits.bin"))).expect("golden");
    let words: Vec<u32> = bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect();
    let path = resolve(model, Kind::Model, &FetchOptions::default()).expect("the model can be had").path;
    let mut model = ModelFiles::open(&path).and_then(|f| f.load(64 << 20)).expect("a valid model");
    let vocab = model.vocab();
    let (mut sum, mut max, mut count, mut agreed) = (0f64, 0f64, 0usize, 0usize);
    let mut near_ties = Vec::new();
    let mut records = words.chunks_exact(66);
    for teacher in &header.prompts {
        let (last, head) = teacher.tokens.split_last().expect("a prompt");
        let mut tail = vec![*last];
        tail.extend_from_slice(&teacher.continuation[..header.steps - 1]);
        let pages: Vec<u32> = (0..8).collect();
        let mut logits = Vec::new();
        model.logits(&[Span { tokens: head, start: 0, pages: &pages, logits: LogitRows::None }], &mut logits);
        let span = Span { tokens: &tail, start: head.len(), pages: &pages, logits: LogitRows::All };
        model.logits(&[span], &mut logits);
        for row in logits.chunks_exact(vocab) {
            let record = records.next().expect("as many records as positions");
            let margin = f64::from(f32::from_bits(record[65]));
            for (id, truth) in record[..32].iter().zip(&record[32..64]) {
                let deviation = f64::from((row[*id as usize] - f32::from_bits(*truth)).abs());
                sum += deviation;
                max = max.max(deviation);
                count += 1;
            }
            let best = vigor::model::sampling::sampler::argmax(row) as u32;
            agreed += usize::from(best == record[0]);
            if best != record[0] {
                near_ties.push(margin);
            }
        }
    }
    assert!(records.next().is_none());
    let mean = sum / count as f64;
    let theirs = &header.llama_cpp.best;
    println!(
        "{golden}: mean {mean:.2e} max {max:.2e}, greedy {agreed}; llama.cpp mean {:.2e} max {:.2e}, greedy {}",
        theirs.mean_abs_subset, theirs.max_abs_subset, theirs.greedy_agreement
    );
    assert!(mean <= theirs.mean_abs_subset && max <= theirs.max_abs_subset, "mean {mean}, max {max}");
    assert!(
        near_ties.iter().all(|&margin| margin <= 2.0 * max),
        "other greedy tokens at margins {near_ties:?}"
    );
}

#[test]
fn smollm2_is_closer_to_the_truth_than_llama_cpp() {
    check_gguf("smollm2-135m-instruct", "smollm2");
}

#[test]
fn qwen_coder_is_closer_to_the_truth_than_llama_cpp() {
    check_gguf("qwen2.5-coder-0.5b-instruct", "coder0.5b");
}

#[derive(Deserialize)]
struct Mixes {
    cases: Vec<Mix>,
}

#[derive(Deserialize)]
struct Mix {
    name: String,
    guidance_strength: f64,
    p: Vec<f64>,
    q: Vec<f64>,
    #[serde(alias = "w", alias = "log_w", alias = "result")]
    expected: Vec<f64>,
}

fn log_softmax(x: &[f64]) -> Vec<f32> {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = x.iter().map(|v| (v - max).exp()).sum();
    x.iter().map(|v| (v - max - sum.ln()) as f32).collect()
}

/// Random logits mixed by NumPy in f64; γ = 0 and γ = 1 are the streams themselves, bit for bit.
#[test]
fn guidance_agrees_with_numpy() {
    let mixes: Mixes = read_json(&goldens().join("guidance.json"));
    assert!(mixes.cases.len() >= 10);
    for case in &mixes.cases {
        let (p, q) = (log_softmax(&case.p), log_softmax(&case.q));
        let mut buffer = Vec::new();
        let gamma = case.guidance_strength as f32;
        let w = Guidance { gamma, epsilon: 0.0 }.mix(&p, &q, &mut buffer);
        for (i, (ours, truth)) in w.iter().zip(&case.expected).enumerate() {
            let close = (f64::from(*ours) - truth).abs() <= 2e-5 * truth.abs().max(1.0);
            assert!(close, "{} γ {gamma} entry {i}: {ours} and not {truth}", case.name);
        }
        let with_epsilon = |gamma| Guidance { gamma, epsilon: 1e-8 }.mix(&p, &q, &mut Vec::new()).to_vec();
        assert_eq!(with_epsilon(0.0), p);
        assert_eq!(with_epsilon(1.0), q);
        let e = 1e-8f64;
        let raw: Vec<f64> = p
            .iter()
            .zip(&q)
            .map(|(&p, &q)| (f64::from(p), f64::from(q)))
            .map(|(p, q)| p + 3.0 * ((q.exp() + e) / (p.exp() + e)).ln())
            .collect();
        for (ours, truth) in with_epsilon(3.0).iter().zip(log_softmax(&raw)) {
            assert!((ours - truth).abs() <= 2e-5 * truth.abs().max(1.0), "with ε: {ours} and not {truth}");
        }
    }
}
