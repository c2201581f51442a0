//! The numbers: logits against other implementations, guidance against NumPy.
//!
//! Truth is an F32 reference over the same (dequantised) weights; `tests/goldens/make.sh` makes the files anew.
//! The GGUF tests use the real models, which are fetched when they are not here.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use vigor::engine::Guidance;
use vigor::model::families::Architecture;
use vigor::model::quant::{WeightType, f8_e4m3};
use vigor::model::rope::RopeScaling;
use vigor::model::safetensors::SafetensorsDir;
use vigor::model::weights::WeightSource;
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

/// Largest deviation of one checkpoint's logits from another's over a prompt, and their largest magnitude.
fn apart(a: &mut Decoder, b: &mut Decoder) -> (f32, f32) {
    let prompt: Vec<u32> = (0..30).map(|i| i * 37 % 256).collect();
    let span = Span { tokens: &prompt, start: 0, pages: &[0], logits: LogitRows::All };
    let [mut of_a, mut of_b] = [Vec::new(), Vec::new()];
    a.logits(&[span], &mut of_a);
    b.logits(&[span], &mut of_b);
    let worst = of_a.iter().zip(&of_b).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    (worst, of_b.iter().fold(0f32, |a, b| a.max(b.abs())))
}

/// Weights that are quantised when they are loaded say about the same; the finer the type, the nearer.
#[test]
fn quantising_at_load_costs_what_the_type_allows() {
    for name in ["llama-bf16", "qwen3-f32"] {
        let load = |to: Option<WeightType>| {
            let files = ModelFiles::open(&goldens().join("tiny").join(name));
            files.and_then(|files| files.load_quantised(1 << 20, to)).expect("a valid checkpoint")
        };
        let [fine, coarse] = [WeightType::Q8_0, WeightType::Q4_0].map(|dtype| {
            let (worst, scale) = apart(&mut load(Some(dtype)), &mut load(None));
            println!("{name} {dtype:?}: {worst:.3} of {scale:.1}");
            worst / scale
        });
        assert!(fine > 0.0 && fine < 0.06 && coarse > 2.0 * fine && coarse < 0.6, "{name}: {fine} {coarse}");
    }
}

/// A tensor of a file: name, type, shape, bytes.
type Stored = (String, &'static str, Vec<usize>, Vec<u8>);

fn write_safetensors(path: &Path, tensors: &[Stored]) {
    let (mut header, mut offset) = (serde_json::Map::new(), 0);
    for (name, dtype, shape, bytes) in tensors {
        let offsets = [offset, offset + bytes.len()];
        let entry = serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
        header.insert(name.clone(), entry);
        offset += bytes.len();
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    tensors.iter().for_each(|(.., bytes)| file.extend_from_slice(bytes));
    std::fs::write(path, file).expect("a file");
}

/// A checkpoint whose projections are 8-bit floats with a scale for each block says, bit for bit, what one says that holds
/// their products in bf16.
#[test]
fn eight_bit_floats_are_their_values_times_their_scales() {
    let from = goldens().join("tiny/llama-bf16");
    let files = SafetensorsDir::open(&from).expect("valid files");
    let config: serde_json::Value = read_json(&from.join("config.json"));
    // Blocks that do not fill the matrices, to see their borders.
    let block = [24usize, 40];
    let (mut scaled, mut dense): (Vec<Stored>, Vec<Stored>) = Default::default();
    let mut names: Vec<&String> = files.names().collect();
    names.sort();
    for (index, name) in names.into_iter().enumerate() {
        let view = files.matrix(name).expect("a tensor");
        let shape = if view.rows == 1 { vec![view.cols] } else { vec![view.rows, view.cols] };
        if !name.contains("_proj") {
            for tensors in [&mut scaled, &mut dense] {
                tensors.push((name.clone(), "BF16", shape.clone(), view.bytes.to_vec()));
            }
            continue;
        }
        let blocks = [view.rows.div_ceil(block[0]), view.cols.div_ceil(block[1])];
        let scales: Vec<f32> =
            (0..blocks[0] * blocks[1]).map(|i| 0.01 + 0.003 * ((i + index) % 7) as f32).collect();
        let bytes: Vec<u8> = (0..view.rows * view.cols)
            .map(|i| ((i * 73 + index * 11) as u8 % 0x50) | ((i as u8) << 7))
            .collect();
        let value = |i: usize| {
            let (row, col) = (i / view.cols, i % view.cols);
            f8_e4m3(bytes[i]) * scales[row / block[0] * blocks[1] + col / block[1]]
        };
        let values = (0..bytes.len()).flat_map(|i| half::bf16::from_f32(value(i)).to_le_bytes()).collect();
        dense.push((name.clone(), "BF16", shape.clone(), values));
        scaled.push((name.clone(), "F8_E4M3", shape, bytes));
        let scales = scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
        scaled.push((format!("{name}_scale_inv"), "F32", blocks.to_vec(), scales));
    }
    let load = |tensors: &[Stored], quantised: serde_json::Value| {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = config.clone();
        config["quantization_config"] = quantised;
        std::fs::write(folder.path().join("config.json"), config.to_string()).expect("config.json");
        write_safetensors(&folder.path().join("model.safetensors"), tensors);
        ModelFiles::open(folder.path()).and_then(|files| files.load(1 << 20))
    };
    let fp8 = serde_json::json!({ "quant_method": "fp8", "weight_block_size": block });
    let mut eight = load(&scaled, fp8).expect("a valid checkpoint");
    let mut plain = load(&dense, serde_json::Value::Null).expect("a valid checkpoint");
    let (worst, scale) = apart(&mut eight, &mut plain);
    assert!(worst == 0.0 && scale > 0.1, "deviates by {worst} of {scale}");

    let other = serde_json::json!({ "quant_method": "fp8", "weight_block_size": [16, 16] });
    let refused = load(&scaled, other).err().expect("scales of other blocks").to_string();
    assert!(refused.contains("scale_inv"), "{refused}");
    let refused =
        load(&dense, serde_json::json!({ "quant_method": "gptq" })).err().expect("refused").to_string();
    assert!(refused.contains("gptq") && refused.contains("GGUF"), "{refused}");
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
