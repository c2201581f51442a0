//! The decoder on one GPU, or on several that have some of its blocks each.
//!
//! Weights and activations are bf16 (quantised weights stay integers), sums and the residual stream f32, keys and values
//! bf16. A row's result depends on that row alone, to the bit: every kernel adds in an order of its own.

use std::sync::Arc;

use super::batch::{Batch, PAGE, Row};
use super::driver::Gpu;
use super::select::Selector;
use super::stage::{MOST_ROWS, Stage};
use super::weights::TILE;
use crate::model::config::ModelConfig;
use crate::model::sampling::{Logprobs, Selected, Selection};
use crate::model::weights::WeightSource;
use crate::model::{LanguageModel, LogitRows, ModelError, Span};

/// How much of its GPUs a model may take.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Share of a GPU's memory, weights included.
    pub memory: f64,
    /// Bytes for keys and values at most; what is left of the share otherwise.
    pub kv_bytes: Option<usize>,
}

/// A model ready to run on GPUs.
pub struct CudaDecoder {
    config: ModelConfig,
    /// One a GPU, in the order of the blocks.
    stages: Vec<Stage>,
    pages: usize,
    /// Pages to copy before the next pass.
    copies: Vec<(u32, u32)>,
}

impl CudaDecoder {
    /// Copies the weights to GPUs, an equal number of blocks to each, and takes what is left of their share for keys and
    /// values.
    ///
    /// # Errors
    /// A tensor is missing or wrong, a device cannot be used, or has not enough memory.
    pub fn load(
        gpus: &[Arc<Gpu>],
        source: &(dyn WeightSource + Sync),
        config: ModelConfig,
        options: &Options,
    ) -> Result<Self, ModelError> {
        config.check()?;
        let dim = config.shape.head_dim;
        if !dim.is_multiple_of(TILE) || dim > 128 {
            return Err(ModelError::Unsupported(format!(
                "a head size of {dim} on a GPU: 16, 32 … 128 are supported; use --device cpu"
            )));
        }
        let (count, layers) = (gpus.len().min(config.layers), config.layers);
        let part = |i: usize| i * layers / count..(i + 1) * layers / count;
        let load = |(i, gpu): (usize, &Arc<Gpu>)| Stage::load(gpu.clone(), source, &config, part(i));
        let mut stages = gpus.iter().take(count).enumerate().map(load).collect::<Result<Vec<_>, _>>()?;
        let page_bytes = 2 * 2 * layers * config.shape.page_size();
        let mut pages = options.kv_bytes.map_or(1 << 24, |bytes| bytes / page_bytes).min(1 << 24);
        for stage in &stages {
            pages = pages.min(stage.room_for_pages(options.memory)?);
        }
        if pages < 4 {
            return Err(ModelError::DeviceMemory("placing keys and values beside the weights".into()));
        }
        for stage in &mut stages {
            stage.take_pages(pages)?;
            stage.gpu().synchronize()?;
        }
        Ok(Self { config, stages, pages, copies: Vec::new() })
    }

    /// The hyperparameters.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Bytes that a forward pass with logits reads of the weights.
    pub fn weight_bytes(&self) -> usize {
        self.stages.iter().map(Stage::weight_bytes).sum()
    }

    /// Bytes of keys and values a token.
    pub fn kv_bytes_per_token(&self) -> usize {
        2 * 2 * self.config.layers * self.config.shape.kv_heads * self.config.shape.head_dim
    }

    /// Copies a page before the next pass.
    fn copy_later(&mut self, from: u32, to: u32) -> Result<(), ModelError> {
        // Copies of one launch are made at once: none may need another.
        let meets = |&(a, b): &(u32, u32)| a == to || b == to || b == from;
        if self.copies.iter().any(meets) || self.copies.len() == MOST_ROWS {
            self.copy_now()?;
        }
        self.copies.push((from, to));
        Ok(())
    }

    fn copy_now(&mut self) -> Result<(), ModelError> {
        if !self.copies.is_empty() {
            let copies = std::mem::take(&mut self.copies);
            for stage in &self.stages {
                stage.copy_pages(&copies)?;
            }
        }
        Ok(())
    }

    /// Computes the spans, and returns a row for every wanted one.
    fn compute(&mut self, spans: &[Span<'_>]) -> Result<Vec<Logprobs>, ModelError> {
        self.copy_now()?;
        let (mut rows, mut taken) = (Vec::new(), Vec::new());
        for (number, span) in spans.iter().enumerate() {
            for (i, &token) in span.tokens.iter().enumerate() {
                let wanted = match span.logits {
                    LogitRows::None => false,
                    LogitRows::Last => i + 1 == span.tokens.len(),
                    LogitRows::All => true,
                };
                let logits = if wanted { Some(self.selector().rows.take()?) } else { None };
                taken.extend(logits.map(|row| self.selector().rows.handle(row)));
                rows.push(Row { span: number, token, position: span.start + i, logits });
            }
        }
        let mut rest = &rows[..];
        while !rest.is_empty() {
            let longest = |rows: &[Row]| rows.iter().map(|row| row.position + 1).max().unwrap_or(0);
            let now =
                Stage::rows_at_once(&self.config, rest.len(), longest(&rest[..rest.len().min(MOST_ROWS)]));
            let batch = Batch::new(&rest[..now], spans, self.config.shape.group());
            for i in 0..self.stages.len() {
                let (before, stage) = self.stages.split_at_mut(i);
                stage[0].pass(&batch, before.last())?;
            }
            rest = &rest[now..];
        }
        Ok(taken)
    }

    fn selector(&mut self) -> &mut Selector {
        self.stages.last_mut().and_then(Stage::selector).expect("the last stage has the output")
    }
}

impl LanguageModel for CudaDecoder {
    fn vocab(&self) -> usize {
        self.config.vocab
    }

    fn context(&self) -> usize {
        self.config.context
    }

    fn page_len(&self) -> usize {
        PAGE
    }

    fn pages(&self) -> usize {
        self.pages
    }

    fn copy_page(&mut self, from: u32, to: u32) -> Result<(), ModelError> {
        self.copy_later(from, to)
    }

    fn forward(&mut self, spans: &[Span<'_>]) -> Result<Vec<Logprobs>, ModelError> {
        self.compute(spans)
    }

    fn select(&mut self, chains: &[Vec<Selection>]) -> Result<Vec<Vec<Selected>>, ModelError> {
        self.selector().select(chains)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use std::collections::HashMap;

    use super::*;
    use crate::model::config::{Architecture, RopeScaling};
    use crate::model::cpu::attention::HeadShape;
    use crate::model::cpu::ops::RopePairs;
    use crate::model::cpu::packed::MatrixView;
    use crate::model::random::RandomWeights;
    use crate::model::weights::{Part, Role};

    fn config(architecture: Architecture, heads: usize, kv_heads: usize, head_dim: usize) -> ModelConfig {
        ModelConfig {
            architecture,
            hidden: 96,
            layers: 3,
            shape: HeadShape { heads, kv_heads, head_dim },
            feed_forward: 184,
            vocab: 301,
            context: 512,
            rms_eps: 1e-6,
            rope_theta: 1e4,
            rope_scaling: RopeScaling::None,
            rope_pairs: RopePairs::Halves,
            tied: false,
        }
    }

    fn options() -> Options {
        Options { memory: 0.9, kv_bytes: Some(8 << 20) }
    }

    impl CudaDecoder {
        fn logprobs(&mut self, spans: &[Span<'_>]) -> Vec<f32> {
            let rows = self.forward(spans).expect("a pass");
            let read =
                |row: &Logprobs| self.selector().rows.read(row.device().expect("a row")).expect("read");
            rows.iter().flat_map(read).collect()
        }
    }

    fn cpu_logprobs(cpu: &mut crate::model::Decoder, spans: &[Span<'_>], out: &mut Vec<f32>) {
        for row in cpu.forward(spans).expect("a pass") {
            out.extend_from_slice(row.host().expect("a row"));
        }
    }

    fn tokens(n: usize, seed: usize) -> Vec<u32> {
        (0..n).map(|i| ((i * 131 + seed * 17 + 7) % 301) as u32).collect()
    }

    #[test]
    fn logits_are_those_of_the_cpu() {
        for (architecture, heads, kv_heads, dim) in [
            (Architecture::Llama, 6, 6, 16),
            (Architecture::Qwen2, 6, 2, 32),
            (Architecture::Llama, 2, 1, 128),
        ] {
            for pairs in [RopePairs::Halves, RopePairs::Interleaved] {
                let config = ModelConfig { rope_pairs: pairs, ..config(architecture, heads, kv_heads, dim) };
                let weights = RandomWeights::new(&config, 5);
                let mut gpu = CudaDecoder::load(&[testing::gpu()], &weights, config.clone(), &options())
                    .expect("loads");
                let mut cpu = crate::model::Decoder::load(Box::new(weights), config, 8 << 20).expect("loads");
                // Over the first chunk of positions, in two passes.
                let (tokens, pages) = (tokens(150, 1), (0..5).rev().collect::<Vec<u32>>());
                let spans = |from: usize, until: usize| Span {
                    tokens: &tokens[from..until],
                    start: from,
                    pages: &pages,
                    logits: LogitRows::All,
                };
                let mut theirs = Vec::new();
                cpu_logprobs(&mut cpu, &[spans(0, 150)], &mut theirs);
                let mut ours = gpu.logprobs(&[spans(0, 110)]);
                ours.extend(gpu.logprobs(&[spans(110, 150)]));
                assert_eq!(ours.len(), theirs.len());
                let scale = theirs.iter().fold(0f32, |a, b| a.max(b.abs()));
                let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
                let mean =
                    ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).sum::<f32>() / ours.len() as f32;
                println!("{architecture:?} {heads}/{kv_heads}×{dim}: worst {worst}, mean {mean} of {scale}");
                assert!(worst <= 0.04 * scale && mean <= 0.004 * scale, "{worst} {mean} of {scale}");
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_its_company() {
        let config = config(Architecture::Qwen2, 6, 2, 16);
        let weights = RandomWeights::new(&config, 6);
        let mut gpu = CudaDecoder::load(&[testing::gpu()], &weights, config, &options()).expect("loads");
        let (tokens, trunk) = (tokens(141, 3), [0, 1, 2, 3, 4]);
        let span = |from: usize, until: usize, logits| Span {
            tokens: &tokens[from..until],
            start: from,
            pages: &trunk,
            logits,
        };
        // The whole prompt at once, then token by token in other pages.
        let whole = gpu.logprobs(&[span(0, 140, LogitRows::Last)]);
        let alone = gpu.logprobs(&[span(140, 141, LogitRows::Last)]);
        for (i, token) in tokens.iter().enumerate() {
            let span = Span {
                tokens: std::slice::from_ref(token),
                start: i,
                pages: &[9, 8, 7, 6, 5],
                logits: LogitRows::Last,
            };
            let logits = gpu.logprobs(&[span]);
            assert!(i != 139 || logits == whole, "the prompt's end differs when it is read token by token");
            assert!(
                i != 140 || logits == alone,
                "the next token differs when the prompt was read token by token"
            );
        }
        // Beside other branches of the trunk, each with a copy of its last page, and beside a prompt.
        for company in [1, 7, 15, 31, 63, 100] {
            let branches: Vec<[u32; 5]> = (0..=company).map(|i| [0, 1, 2, 3, 20 + i]).collect();
            for i in 0..=company {
                gpu.copy_later(4, 20 + i).expect("copies");
            }
            let others: Vec<u32> =
                (0..=company).map(|i| if i == company / 2 { tokens[140] } else { 7 + i }).collect();
            let mut spans: Vec<Span<'_>> = Vec::new();
            for (pages, token) in branches.iter().zip(&others) {
                let logits = LogitRows::Last;
                spans.push(Span { tokens: std::slice::from_ref(token), start: 140, pages, logits });
            }
            let prompt = Span { tokens: &tokens[..50], start: 0, pages: &[15, 16], logits: LogitRows::None };
            if company % 2 == 0 {
                spans.insert(0, prompt);
            }
            let logits = gpu.logprobs(&spans);
            let ours = &logits[company as usize / 2 * 301..][..301];
            assert!(ours == alone, "a branch differs beside {company} others");
        }
    }

    /// Weights of another, quantised in one format.
    struct Requantised {
        inner: RandomWeights,
        tensors: HashMap<String, Vec<u8>>,
        dtype: candle_core::quantized::GgmlDType,
    }

    impl Requantised {
        fn new(config: &ModelConfig, dtype: candle_core::quantized::GgmlDType) -> Self {
            use candle_core::{Device, Tensor, quantized::QTensor};
            let inner = RandomWeights::new(config, 7);
            let mut tensors = HashMap::new();
            let roles = [
                Role::Embedding,
                Role::Output,
                Role::Q,
                Role::K,
                Role::V,
                Role::O,
                Role::Gate,
                Role::Up,
                Role::Down,
            ];
            for (role, layer) in
                roles.into_iter().flat_map(|role| (0..config.layers).map(move |layer| (role, layer)))
            {
                let name = inner.name(role, layer, Part::Weight);
                let Ok(view) = inner.matrix(&name) else { continue };
                let mut values = vec![0.0; view.rows * view.cols];
                for (row, out) in values.chunks_mut(view.cols).enumerate() {
                    view.row_f32(row, out);
                    // Another size for each row, so that every scale matters.
                    out.iter_mut().for_each(|v| *v *= 0.6 + 0.8 * (row % 17) as f32 / 17.0);
                }
                let tensor =
                    Tensor::from_vec(values, (view.rows, view.cols), &Device::Cpu).expect("a tensor");
                let quantised = QTensor::quantize(&tensor, dtype).expect("quantises");
                tensors.insert(name, quantised.data().expect("bytes").into_owned());
            }
            Self { inner, tensors, dtype }
        }
    }

    impl WeightSource for Requantised {
        fn name(&self, role: Role, layer: usize, part: Part) -> String {
            self.inner.name(role, layer, part)
        }

        fn has(&self, name: &str) -> bool {
            self.inner.has(name)
        }

        fn matrix(&self, name: &str) -> Result<MatrixView<'_>, ModelError> {
            let view = self.inner.matrix(name)?;
            Ok(match self.tensors.get(name) {
                Some(bytes) => MatrixView { dtype: self.dtype, bytes, ..view },
                None => view,
            })
        }
    }

    #[test]
    fn quantised_weights_give_the_logits_of_the_cpu() {
        use candle_core::quantized::GgmlDType;
        for dtype in [
            GgmlDType::Q4_0,
            GgmlDType::Q4_1,
            GgmlDType::Q5_0,
            GgmlDType::Q5_1,
            GgmlDType::Q8_0,
            GgmlDType::Q4K,
            GgmlDType::Q5K,
            GgmlDType::Q6K,
        ] {
            let config =
                ModelConfig { hidden: 256, feed_forward: 512, ..config(Architecture::Llama, 4, 2, 64) };
            let weights = Requantised::new(&config, dtype);
            let mut gpu =
                CudaDecoder::load(&[testing::gpu()], &weights, config.clone(), &options()).expect("loads");
            let mut cpu = crate::model::Decoder::load(Box::new(weights), config, 8 << 20).expect("loads");
            let tokens = tokens(90, 2);
            let span = |tokens, start, logits| Span { tokens, start, pages: &[2, 1, 0], logits };
            let mut theirs = Vec::new();
            cpu_logprobs(&mut cpu, &[span(&tokens, 0, LogitRows::All)], &mut theirs);
            // A row for each kernel: 8, 16, 32, 64 and many.
            let mut ours = Vec::new();
            let mut at = 0;
            for count in [7, 12, 71] {
                ours.extend(gpu.logprobs(&[span(&tokens[at..at + count], at, LogitRows::All)]));
                at += count;
            }
            let again = gpu.logprobs(&[
                span(&tokens[..30], 0, LogitRows::All),
                span(&tokens[30..90], 30, LogitRows::All),
            ]);
            let some = gpu.logprobs(&[span(&tokens[..30], 0, LogitRows::All)]);
            assert!(ours == again && ours[..some.len()] == some, "{dtype:?}: rows depend on their company");
            let scale = theirs.iter().fold(0f32, |a, b| a.max(b.abs()));
            let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            println!("{dtype:?}: worst {worst} of {scale}");
            assert!(worst <= 0.03 * scale, "{dtype:?}: {worst} of {scale}");
        }
    }

    #[test]
    fn two_gpus_with_half_the_blocks_each_compute_the_same() {
        let config = config(Architecture::Llama, 6, 2, 16);
        let weights = RandomWeights::new(&config, 8);
        let gpus = testing::gpus(2);
        let mut one = CudaDecoder::load(&gpus[..1], &weights, config.clone(), &options()).expect("loads");
        let mut two = CudaDecoder::load(&gpus, &weights, config, &options()).expect("loads");
        let tokens = tokens(140, 4);
        let span = |from: usize, until: usize| Span {
            tokens: &tokens[from..until],
            start: from,
            pages: &[0, 1, 2, 3, 4],
            logits: LogitRows::Last,
        };
        for spans in [[span(0, 100)], [span(100, 139)], [span(139, 140)]] {
            assert!(one.logprobs(&spans) == two.logprobs(&spans));
        }
    }

    #[test]
    fn too_little_memory_is_said() {
        let config = config(Architecture::Llama, 6, 2, 16);
        let weights = RandomWeights::new(&config, 9);
        let options = Options { memory: 0.001, ..options() };
        let error = CudaDecoder::load(&[testing::gpu()], &weights, config, &options).err().expect("no room");
        assert!(matches!(error, ModelError::DeviceMemory(_)), "{error}");
    }
}
