//! The decoder: transformer blocks with rotary grouped-query attention and a feed-forward half, in the variations that
//! [`ModelConfig`] describes.
//!
//! A batch is any mix of spans (prompts being read, branches at their next token) of any number of sequences.
//! The rows of all spans go through every matrix product together; attention looks up each row's own pages.

use super::config::{ModelConfig, Positions};
use super::cpu::attention::{Aligned, PAGE};
use super::cpu::matmul::{Product, Scratch, matmul};
use super::cpu::ops;
use super::quant::WeightType;
use super::rope::Rope;
use super::sampling::Logprobs;
use super::weights::{Role, Tensors, WeightSource};
use super::{LanguageModel, LogitRows, ModelError, Span};
use crate::team;
use block::{Block, Linear, Norm};

mod attention;
mod block;
mod feed_forward;

/// A model ready to run on the CPU.
pub struct Decoder {
    config: ModelConfig,
    /// Rows of the embedding table (and of the table of positions) are read straight from the mapped file.
    source: Box<dyn WeightSource + Send + Sync>,
    blocks: Vec<Block>,
    output_norm: Norm,
    output: Linear,
    cache: KvCache,
    ropes: Ropes,
    work: Work,
}

/// Keys and values of all pages, a vector a layer.
struct KvCache {
    pages: usize,
    k: Vec<Aligned>,
    v: Vec<Aligned>,
}

/// Cosines and sines of every position seen so far.
#[derive(Default)]
struct RopeTable {
    inverse_frequencies: Vec<f32>,
    magnitude: f32,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl RopeTable {
    fn new(rope: &Rope, context: usize) -> Self {
        let (inverse_frequencies, magnitude) = (rope.inverse_frequencies(context), rope.magnitude());
        Self { inverse_frequencies, magnitude, cos: Vec::new(), sin: Vec::new() }
    }

    fn extend_to(&mut self, positions: usize) {
        let half = self.inverse_frequencies.len();
        for position in self.cos.len() / half..positions {
            for &f in &self.inverse_frequencies {
                let (cos, sin) = Rope::turn(position, f);
                self.cos.push(cos * self.magnitude);
                self.sin.push(sin * self.magnitude);
            }
        }
    }

    fn at(&self, position: usize) -> (&[f32], &[f32]) {
        let half = self.inverse_frequencies.len();
        (&self.cos[position * half..][..half], &self.sin[position * half..][..half])
    }
}

/// The rotary embeddings of a model: of all layers, and of those that are local where they have another one.
struct Ropes {
    global: Option<RopeTable>,
    local: Option<RopeTable>,
}

impl Ropes {
    fn new(config: &ModelConfig) -> Self {
        match &config.attention.positions {
            Positions::Learned => Self { global: None, local: None },
            Positions::Rotary { global, local } => {
                let table = |rope| RopeTable::new(rope, config.context);
                Self { global: Some(table(global)), local: local.as_ref().map(table) }
            }
        }
    }

    fn of(&self, config: &ModelConfig, layer: usize) -> Option<&RopeTable> {
        self.local.as_ref().filter(|_| config.attention.local[layer]).or(self.global.as_ref())
    }

    fn extend_to(&mut self, positions: usize) {
        for table in [&mut self.global, &mut self.local].into_iter().flatten() {
            table.extend_to(positions);
        }
    }
}

/// Activations of one forward pass; kept, so that decoding allocates nothing.
#[derive(Default)]
struct Work {
    x: Vec<f32>,
    normed: Vec<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    latent: Vec<f32>,
    context: Vec<f32>,
    delta: Vec<f32>,
    inner: feed_forward::Inner,
    logits: Vec<f32>,
    rows: Vec<Row>,
    scratch: Scratch,
}

/// Rows that one task of the small operations takes: a few sequences' next tokens are hardly worth a second thread.
fn rows_a_task(rows: usize) -> usize {
    (rows / team::threads()).clamp(4, 16)
}

/// Where a row of the batch stands.
#[derive(Clone, Copy)]
struct Row {
    span: usize,
    position: usize,
}

impl Decoder {
    /// Packs the weights and reserves `kv_bytes` for keys and values.
    ///
    /// # Errors
    /// A tensor is missing, has another shape than the configuration asks for, or a type we cannot read.
    pub fn load<S>(source: Box<S>, config: ModelConfig, kv_bytes: usize) -> Result<Self, ModelError>
    where
        S: WeightSource + Send + Sync + 'static,
    {
        Self::load_quantised(source, config, kv_bytes, None)
    }

    /// The same, with dense matrices quantised.
    pub fn load_quantised<S>(
        source: Box<S>,
        config: ModelConfig,
        kv_bytes: usize,
        quantise: Option<WeightType>,
    ) -> Result<Self, ModelError>
    where
        S: WeightSource + Send + Sync + 'static,
    {
        config.check()?;
        let tensors = Tensors { source: &*source, config: &config, quantise };
        let hidden = config.hidden;
        let blocks = (0..config.layers).map(|layer| Block::load(tensors, layer)).collect::<Result<_, _>>()?;
        tensors.matrix(Role::Embedding, 0, config.vocab, hidden)?;
        if config.attention.positions == Positions::Learned {
            tensors.matrix(Role::Positions, 0, config.context, hidden)?;
        }
        let output = if config.tied { Role::Embedding } else { Role::Output };
        let (output_norm, output) = (
            Norm::load(tensors, Role::OutputNorm, 0)?,
            Linear::load(tensors, output, 0, config.vocab, hidden)?,
        );
        let shape = config.attention.shape;
        let pages = (kv_bytes / (config.kv_bytes_per_token() * PAGE)).clamp(4, 1 << 24);
        // Zeroed memory is only backed by the system once it is written: an unused page costs nothing.
        let zeros = |page: usize| (0..config.layers).map(|_| Aligned::zeros(pages * page)).collect();
        Ok(Self {
            blocks,
            output_norm,
            output,
            cache: KvCache { pages, k: zeros(shape.page_size()), v: zeros(shape.value_page_size()) },
            ropes: Ropes::new(&config),
            work: Work::default(),
            config,
            source,
        })
    }

    /// The hyperparameters.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Bytes that a forward pass of one row with logits reads of the weights.
    pub fn weight_bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.bytes(&self.config)).sum::<usize>() + self.output.weight.bytes()
    }

    /// The forward pass up to the logits: appends the wanted rows (f32, `vocab` each), span by span, to `logits`.
    pub fn logits(&mut self, spans: &[Span<'_>], logits: &mut Vec<f32>) {
        self.embed(spans);
        let rows = self.work.rows.len();
        if rows == 0 {
            return;
        }
        self.work.normed.resize(rows * self.config.hidden, 0.0);
        for layer in 0..self.blocks.len() {
            self.block(layer, spans);
        }
        self.project(spans, logits);
    }

    /// One block, in one of the orders of [`Residual`](super::config::Residual).
    fn block(&mut self, layer: usize, spans: &[Span<'_>]) {
        self.blocks[layer].attention_norm.apply(&self.work.x, &mut self.work.normed);
        self.attention(layer, spans);
        self.join(layer, |block| &block.post_attention_norm);
        if let Some(norm) = &self.blocks[layer].feed_forward_norm {
            norm.apply(&self.work.x, &mut self.work.normed);
        }
        self.feed_forward(layer);
        self.join(layer, |block| &block.post_feed_forward_norm);
    }

    /// Adds what a half made to the residual stream, behind a norm if it has one.
    fn join(&mut self, layer: usize, norm: impl Fn(&Block) -> &Option<Norm>) {
        let work = &mut self.work;
        match norm(&self.blocks[layer]) {
            None => ops::add_assign(&mut work.x, &work.delta),
            Some(norm) => {
                // Nothing needs the rows before the half any more.
                norm.apply(&work.delta, &mut work.normed);
                ops::add_assign(&mut work.x, &work.normed);
            }
        }
    }

    fn embed(&mut self, spans: &[Span<'_>]) {
        let (config, work) = (&self.config, &mut self.work);
        let hidden = config.hidden;
        work.rows.clear();
        for (index, span) in spans.iter().enumerate() {
            work.rows.extend((0..span.tokens.len()).map(|i| Row { span: index, position: span.start + i }));
        }
        work.x.resize(work.rows.len() * hidden, 0.0);
        let tensors = Tensors { source: &*self.source, config, quantise: None };
        let table =
            |role, rows| tensors.matrix(role, 0, rows, hidden).expect("checked when the model was loaded");
        let embedding = table(Role::Embedding, config.vocab);
        let tokens = spans.iter().flat_map(|s| s.tokens);
        for (x, &token) in work.x.chunks_exact_mut(hidden).zip(tokens) {
            embedding.row_f32(token as usize, x);
        }
        if config.embedding_scale != 1.0 {
            work.x.iter_mut().for_each(|x| *x *= config.embedding_scale);
        }
        if config.attention.positions == Positions::Learned {
            let positions = table(Role::Positions, config.context);
            let mut vector = vec![0.0; hidden];
            for (x, row) in work.x.chunks_exact_mut(hidden).zip(&work.rows) {
                positions.row_f32(row.position, &mut vector);
                ops::add_assign(x, &vector);
            }
        }
        self.ropes.extend_to(work.rows.iter().map(|r| r.position + 1).max().unwrap_or(0));
    }

    /// Norm and output projection of the wanted rows only.
    fn project(&mut self, spans: &[Span<'_>], logits: &mut Vec<f32>) {
        let hidden = self.config.hidden;
        let work = &mut self.work;
        work.delta.clear();
        let mut first = 0;
        for span in spans {
            let n = span.tokens.len();
            let wanted = match span.logits {
                LogitRows::None => 0,
                LogitRows::Last => n.min(1),
                LogitRows::All => n,
            };
            work.delta.extend_from_slice(&work.x[(first + n - wanted) * hidden..(first + n) * hidden]);
            first += n;
        }
        let rows = work.delta.len() / hidden;
        if rows == 0 {
            return;
        }
        work.normed.resize(rows * hidden, 0.0);
        self.output_norm.apply(&work.delta, &mut work.normed);
        let start = logits.len();
        logits.resize(start + rows * self.config.vocab, 0.0);
        let logits = &mut logits[start..];
        matmul(
            &work.normed,
            rows,
            &mut [Product { weights: &self.output.weight, out: logits }],
            &mut work.scratch,
        );
        self.output.add_bias(logits);
        if let Some(cap) = self.config.logit_cap {
            team::each(logits.chunks_mut(self.config.vocab), |row| ops::soft_cap(row, cap));
        }
    }
}

impl LanguageModel for Decoder {
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
        self.cache.pages
    }

    fn copy_page(&mut self, from: u32, to: u32) -> Result<(), ModelError> {
        let shape = self.config.attention.shape;
        let (from, to) = (from as usize, to as usize);
        let sizes = [(&mut self.cache.k, shape.page_size()), (&mut self.cache.v, shape.value_page_size())];
        for (layers, size) in sizes {
            for layer in layers {
                layer.copy_within(from * size..(from + 1) * size, to * size);
            }
        }
        Ok(())
    }

    fn forward(&mut self, spans: &[Span<'_>]) -> Result<Vec<Logprobs>, ModelError> {
        let mut logits = std::mem::take(&mut self.work.logits);
        logits.clear();
        self.logits(spans, &mut logits);
        let rows = team::map(logits.chunks_exact(self.config.vocab), |row| {
            let mut logprobs = Vec::with_capacity(row.len());
            ops::log_softmax_into(row, &mut logprobs);
            Logprobs::on_host(logprobs)
        });
        self.work.logits = logits;
        Ok(rows)
    }
}
