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
use crate::model::device::Placement;
use crate::model::sampling::{Logprobs, Selected, Selection};
use crate::model::weights::WeightSource;
use crate::model::{LanguageModel, LogitRows, ModelError, Span};

/// Pages of keys and values at least.
const LEAST_PAGES: usize = 4;

/// A model ready to run on GPUs.
pub(super) struct CudaDecoder {
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
        placement: &Placement,
    ) -> Result<Self, ModelError> {
        config.check()?;
        let dim = config.attention.shape.head_dim;
        if !dim.is_multiple_of(TILE) || dim > 128 {
            return Err(ModelError::Unsupported(format!(
                "a head size of {dim} on a GPU: 16, 32 … 128 are supported; use --device cpu"
            )));
        }
        let (count, layers) = (gpus.len().min(config.layers), config.layers);
        let part = |i: usize| i * layers / count..(i + 1) * layers / count;
        let load = |(i, gpu): (usize, &Arc<Gpu>)| Stage::load(gpu.clone(), source, &config, part(i));
        let mut stages = gpus.iter().take(count).enumerate().map(load).collect::<Result<Vec<_>, _>>()?;
        let page_bytes = 2 * 2 * layers * config.attention.shape.page_size();
        let wanted = placement.kv_bytes.map_or(usize::MAX, |bytes| bytes / page_bytes);
        let mut pages = wanted.clamp(LEAST_PAGES, 1 << 24);
        for stage in &stages {
            pages = pages.min(stage.room_for_pages(placement.gpu_memory)?);
        }
        if pages < LEAST_PAGES {
            return Err(ModelError::DeviceMemory("placing keys and values beside the weights".into()));
        }
        for stage in &mut stages {
            stage.take_pages(pages)?;
            stage.gpu().synchronize()?;
        }
        Ok(Self { config, stages, pages, copies: Vec::new() })
    }

    /// Bytes that a forward pass with logits reads of the weights.
    pub fn weight_bytes(&self) -> usize {
        self.stages.iter().map(Stage::weight_bytes).sum()
    }

    /// Bytes of keys and values a token.
    pub fn kv_bytes_per_token(&self) -> usize {
        2 * 2
            * self.config.layers
            * self.config.attention.shape.kv_heads
            * self.config.attention.shape.head_dim
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
            for stage in &mut self.stages {
                stage.copy_pages(&self.copies)?;
            }
            // After an error they are made before the next pass.
            self.copies.clear();
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
            let batch = Batch::new(&rest[..now], spans, self.config.attention.shape.group());
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

    fn read(&mut self, row: &Logprobs) -> Result<Vec<f32>, ModelError> {
        let elsewhere = || ModelError::Device("a row is not on the GPU".into());
        let row = row.device().ok_or_else(elsewhere)?;
        self.selector().rows.read(row)
    }

    fn select(&mut self, chains: &[Vec<Selection>]) -> Result<Vec<Vec<Selected>>, ModelError> {
        self.selector().select(chains)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::model::check::{small, tokens};
    use crate::model::families::Architecture;
    use crate::model::random::RandomWeights;

    fn options() -> Placement {
        Placement { kv_bytes: Some(8 << 20), ..Placement::default() }
    }

    fn logprobs(model: &mut CudaDecoder, spans: &[Span<'_>]) -> Vec<Vec<f32>> {
        let rows = model.forward(spans).expect("a pass");
        rows.iter().map(|row| model.read(row).expect("a row")).collect()
    }

    #[test]
    fn two_gpus_with_half_the_blocks_each_compute_the_same() {
        let config = small(Architecture::Llama, 6, 2, 16).cut(3);
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
            assert!(logprobs(&mut one, &spans) == logprobs(&mut two, &spans));
        }
    }

    #[test]
    fn too_little_memory_is_said() {
        let config = small(Architecture::Llama, 6, 2, 16).cut(3);
        let weights = RandomWeights::new(&config, 9);
        let options = Placement { gpu_memory: 0.001, ..options() };
        let error = CudaDecoder::load(&[testing::gpu()], &weights, config, &options).err().expect("no room");
        assert!(matches!(error, ModelError::DeviceMemory(_)), "{error}");
    }
}
