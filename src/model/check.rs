//! Whether a GPU computes what the processor does: logits of small random models in every weight format, the same rows
//! in other company, the same pass twice, the same tokens from the same rows; and a model of the user's choice.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::config::{ModelConfig, Positions};
use super::cpu::ops::RopePairs;
use super::device::{Placed, Placement, Wanted, place};
use super::families::{self, Architecture};
use super::quant::WeightType;
use super::random::{QuantisedWeights, RandomWeights};
use super::sampling::{Choice, Guidance, Logprobs, RngKey, Sampling, Selection, select_on_host};
use super::weights::WeightSource;
use super::{LanguageModel, LogitRows, ModelError, ModelFiles, Span};

/// What one check came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// Whether it holds.
    pub passed: bool,
    /// The figures.
    pub detail: String,
    /// SHA-256 of all that a GPU computed for it, bit by bit: the same in every run on one kind of GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl Check {
    /// A line that tells it.
    pub fn line(&self) -> String {
        format!("{} {:<44} {}", if self.passed { "✓" } else { "✗" }, self.name, self.detail)
    }
}

/// What a check came to, before it has its name.
pub(super) struct Outcome {
    pub(super) passed: bool,
    detail: String,
    digest: Option<String>,
}

impl Outcome {
    pub(super) fn new(passed: bool, detail: String) -> Self {
        Self { passed, detail, digest: None }
    }

    pub(super) fn named(self, name: String) -> Check {
        let Self { passed, detail, digest } = self;
        Check { name, passed, detail, digest }
    }

    fn with_bits_of(self, rows: &[Vec<f32>]) -> Self {
        let mut hasher = Sha256::new();
        rows.iter().flatten().for_each(|value| hasher.update(value.to_le_bytes()));
        let digest = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { digest: Some(digest), ..self }
    }
}

/// Mean and largest deviation of a log-probability that bf16 explains in the small models, twice what is usual.
const TOLERANCE: (f32, f32) = (0.015, 0.13);
/// The same, mean only, for the most probable token in a trained model, whose logits are larger.
const TRAINED_TOLERANCE: f32 = 0.06;
/// Two tokens whose log-probabilities are nearer than this may change places.
const NEAR_TIE: f32 = 0.3;

/// Memory for keys and values of the small models.
const KV_BYTES: usize = 32 << 20;

/// A small model, which no file is needed for.
pub(super) fn small(
    architecture: Architecture,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
) -> ModelConfig {
    let json = serde_json::json!({
        "model_type": architecture.name(),
        "hidden_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "intermediate_size": 512,
        "vocab_size": 301,
        "max_position_embeddings": 512,
    });
    families::from_json(&json.to_string()).expect("a valid configuration")
}

/// Some of its tokens.
pub(super) fn tokens(n: usize, seed: usize) -> Vec<u32> {
    (0..n).map(|i| ((i * 131 + seed * 17 + 7) % 301) as u32).collect()
}

/// The rows of some spans, in the host's memory.
pub(super) fn rows(model: &mut dyn LanguageModel, spans: &[Span<'_>]) -> Result<Vec<Vec<f32>>, ModelError> {
    let rows = model.forward(spans)?;
    rows.iter().map(|row| model.read(row)).collect()
}

/// Mean and largest deviation of one set of rows from another.
fn deviation(a: &[Vec<f32>], b: &[Vec<f32>]) -> (f32, f32) {
    let differences = || a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs());
    let count = a.iter().map(Vec::len).sum::<usize>().max(1);
    (differences().sum::<f32>() / count as f32, differences().fold(0.0, f32::max))
}

/// Compares a GPU with the processor. `model` is another model to compare, `quick` leaves out what takes long.
/// `watch` hears each check as it is done.
///
/// # Errors
/// No GPU can be used, or it fails.
pub fn check(
    placement: &Placement,
    model: Option<[ModelFiles; 2]>,
    quick: bool,
    watch: &mut dyn FnMut(&Check),
) -> Result<Vec<Check>, ModelError> {
    let on_gpu = Placement { device: Wanted::Cuda, kv_bytes: Some(KV_BYTES), ..placement.clone() };
    let mut checks = Vec::new();
    let mut add = |name: String, outcome: Outcome| {
        checks.push(outcome.named(name));
        watch(checks.last().expect("just added"));
    };

    let mut shapes = vec![
        ("head size 16", small(Architecture::Llama, 6, 6, 16)),
        ("grouped heads of 64, biases", small(Architecture::Qwen2, 6, 2, 64)),
        ("head size 128, pairs side by side", small(Architecture::Llama, 2, 1, 128)),
    ];
    if let Positions::Rotary { global, .. } = &mut shapes[2].1.attention.positions {
        global.pairs = RopePairs::Interleaved;
    }
    shapes.truncate(if quick { 1 } else { 3 });
    for (what, config) in &shapes {
        add(format!("logits, {what}"), compare(&on_gpu, config, RandomWeights::new(config, 5))?);
    }
    let formats = WeightType::ALL.iter().filter(|dtype| dtype.block_size() > 1 && dtype.candle().is_some());
    for &dtype in formats.take(if quick { 2 } else { usize::MAX }) {
        let config = small(Architecture::Llama, 4, 2, 64);
        let weights = QuantisedWeights::new(RandomWeights::new(&config, 7), dtype)?;
        add(format!("logits, {dtype:?}"), compare(&on_gpu, &config, weights)?);
    }

    let config = small(Architecture::Qwen2, 6, 2, 16);
    let mut gpu = place(&RandomWeights::new(&config, 6), config, &on_gpu)?;
    let gpu = &mut *gpu.models[0];
    let companies: &[u32] = if quick { &[7, 40] } else { &[1, 7, 15, 31, 63, 100] };
    add("a row alone and in company".into(), same_in_any_company(gpu, companies)?);
    add("tokens from the same rows".into(), same_tokens(gpu, if quick { 20 } else { 200 })?);

    if let Some([for_gpu, for_cpu]) = model {
        let kv_bytes = Some(512 << 20);
        let gpu = for_gpu.place(&Placement { device: Wanted::Cuda, kv_bytes, ..placement.clone() })?;
        let cpu = for_cpu.place(&Placement { device: Wanted::Cpu, kv_bytes, ..Placement::default() })?;
        let outcome = trained(gpu, cpu)?;
        add("the model".into(), outcome);
    }
    Ok(checks)
}

/// The same rows by GPU and processor; the GPU reads them in pieces of all sizes that have a kernel, and once more in
/// others, which must change nothing.
fn compare<S>(on_gpu: &Placement, config: &ModelConfig, weights: S) -> Result<Outcome, ModelError>
where
    S: WeightSource + Send + Sync + 'static,
{
    let mut gpu = place(&weights, config.clone(), on_gpu)?;
    let mut cpu = super::Decoder::load(Box::new(weights), config.clone(), KV_BYTES)?;
    let (tokens, pages) = (tokens(180, 1), [5, 4, 3, 2, 1, 0]);
    let span = |from: usize, until: usize| Span {
        tokens: &tokens[from..until],
        start: from,
        pages: &pages,
        logits: LogitRows::All,
    };
    let theirs = rows(&mut cpu, &[span(0, 180)])?;
    let mut in_pieces = |pieces: &[usize]| {
        let (mut at, mut all) = (0, Vec::new());
        for piece in pieces {
            all.extend(rows(&mut *gpu.models[0], &[span(at, at + piece)])?);
            at += piece;
        }
        Ok::<_, ModelError>(all)
    };
    let ours = in_pieces(&[7, 12, 29, 60, 72])?;
    let again = in_pieces(&[100, 1, 79])?;
    let (mean, worst) = deviation(&ours, &theirs);
    let same = ours == again;
    let total = |row: &Vec<f32>| row.iter().map(|&l| f64::from(l).exp()).sum::<f64>();
    let normalised = ours.iter().all(|row| (total(row) - 1.0).abs() < 1e-5);
    let passed = same && normalised && mean <= TOLERANCE.0 && worst <= TOLERANCE.1;
    let pieces = if same { "the same in other pieces" } else { "NOT THE SAME in other pieces" };
    let sums = if normalised { "" } else { "; probabilities DO NOT ADD UP to 1" };
    let detail = format!("deviates by {mean:.4}, at most {worst:.4}; {pieces}{sums}");
    Ok(Outcome::new(passed, detail).with_bits_of(&ours))
}

/// A token after a trunk, alone, and beside other branches of the trunk and a prompt.
fn same_in_any_company(gpu: &mut dyn LanguageModel, companies: &[u32]) -> Result<Outcome, ModelError> {
    let (tokens, trunk) = (tokens(141, 3), [0, 1, 2, 3, 4]);
    let span = |from: usize, until: usize| Span {
        tokens: &tokens[from..until],
        start: from,
        pages: &trunk,
        logits: LogitRows::Last,
    };
    rows(gpu, &[span(0, 140)])?;
    let alone = rows(gpu, &[span(140, 141)])?;
    let mut differ = Vec::new();
    if rows(gpu, &[span(140, 141)])? != alone {
        differ.push("twice".to_owned());
    }
    for &company in companies {
        // Each branch has a copy of the trunk's last page.
        let branches: Vec<[u32; 5]> = (0..=company).map(|i| [0, 1, 2, 3, 20 + i]).collect();
        for i in 0..=company {
            gpu.copy_page(4, 20 + i)?;
        }
        let ours = company as usize / 2;
        let next: Vec<u32> =
            (0..=company).map(|i| if i as usize == ours { tokens[140] } else { 7 + i }).collect();
        let branch = |(pages, token)| Span {
            tokens: std::slice::from_ref(token),
            start: 140,
            pages,
            logits: LogitRows::Last,
        };
        let mut spans: Vec<Span<'_>> = branches.iter().map(|b| &b[..]).zip(&next).map(branch).collect();
        let prompt = Span { tokens: &tokens[..50], start: 0, pages: &[15, 16], logits: LogitRows::None };
        spans.insert(0, prompt);
        if rows(gpu, &spans)?[ours] != alone[0] {
            differ.push(company.to_string());
        }
    }
    let passed = differ.is_empty();
    let sizes = companies.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let detail = if passed {
        format!("equal to the bit beside {sizes} others")
    } else {
        format!("differs: {}", differ.join(", "))
    };
    Ok(Outcome::new(passed, detail).with_bits_of(&alone))
}

/// Draws, guided ones too, from the same rows on both sides.
fn same_tokens(gpu: &mut dyn LanguageModel, draws: usize) -> Result<Outcome, ModelError> {
    let prompts = [tokens(20, 1), tokens(30, 2)];
    let pages = [[10], [11]];
    let span = |i: usize| Span { tokens: &prompts[i], start: 0, pages: &pages[i], logits: LogitRows::Last };
    let on_device = gpu.forward(&[span(0), span(1)])?;
    let on_host = on_device
        .iter()
        .map(|row| Ok(Logprobs::on_host(gpu.read(row)?)))
        .collect::<Result<Vec<_>, ModelError>>()?;
    let selections = |rows: &[Logprobs]| -> Vec<Vec<Selection>> {
        let selection = |i: usize| {
            let sampling = Sampling {
                temperature: [0.0, 0.7, 1.0, 1.5][i % 4],
                top_p: [1.0, 0.95, 0.5][i % 3],
                top_k: [0, 0, 20, 5][i / 4 % 4],
            };
            let guidance = Guidance { gamma: [0.5, 1.0, 3.0][i / 5 % 3], epsilon: 1e-4 };
            Selection {
                plain: rows[0].clone(),
                guided: (i % 5 > 1).then(|| (rows[1].clone(), guidance)),
                choice: Choice::Draw { sampling, key: RngKey::new(11).with(i as u64) },
                alternatives: i % 3,
                expects: None,
            }
        };
        (0..draws).map(|i| vec![selection(i)]).collect()
    };
    let (ours, theirs) = (gpu.select(&selections(&on_device))?, select_on_host(&selections(&on_host)));
    let same = ours.iter().zip(&theirs).filter(|(a, b)| a[0].tokens[0].token == b[0].tokens[0].token).count();
    // Exponentials differ in their last bits: a sum may reach `top_p` a token earlier.
    let detail = format!("{same} of {draws} draws are the same");
    Ok(Outcome::new(100 * (draws - same) <= draws, detail))
}

/// A model of its own: what follows each token of a text.
fn trained(mut gpu: Placed, mut cpu: Placed) -> Result<Outcome, ModelError> {
    let vocab = cpu.config.vocab;
    let text: Vec<u32> = (0..96).map(|i| (i * i * 7919 % vocab.min(5000)) as u32).collect();
    let pages: Vec<u32> = (0..3).collect();
    let span = Span { tokens: &text, start: 0, pages: &pages, logits: LogitRows::All };
    let theirs = rows(&mut *cpu.models[0], &[span])?;
    let ours = rows(&mut *gpu.models[0], &[span])?;
    let best = |row: &[f32]| super::sampling::sampler::argmax(row);
    let (mut sum, mut other, mut wrong) = (0.0, 0, 0);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let (a, b) = (best(ours), best(theirs));
        sum += (ours[b] - theirs[b]).abs();
        other += usize::from(a != b);
        wrong += usize::from(a != b && theirs[b] - theirs[a] > NEAR_TIE);
    }
    let mean = sum / text.len() as f32;
    let (whole, _) = deviation(&ours, &theirs);
    let detail = format!(
        "the most probable token is another at {other} of {} positions, {wrong} of them no near tie; its log-probability \
         deviates by {mean:.4}, that of all tokens by {whole:.4}",
        text.len()
    );
    Ok(Outcome::new(wrong == 0 && mean <= TRAINED_TOLERANCE, detail).with_bits_of(&ours))
}
