//! The decoder: pre-norm transformer blocks with rotary grouped-query attention and a gated feed-forward layer.
//!
//! A batch is any mix of spans (prompts being read, branches at their next token) of any number of sequences.
//! The rows of all spans go through every matrix product together; attention looks up each row's own pages.

use super::config::ModelConfig;
use super::cpu::attention::{self, Aligned, KvLayer, PAGE, Query};
use super::cpu::matmul::{Product, Scratch, matmul};
use super::cpu::{PackedMatrix, ops};
use super::sampling::Logprobs;
use super::weights::{Part, Role, WeightSource, matrix_of, vector_of};
use super::{LanguageModel, LogitRows, ModelError, Span};
use crate::team;

/// A model ready to run on the CPU.
pub struct Decoder {
    config: ModelConfig,
    /// Rows of the embedding table are read straight from the mapped file.
    source: Box<dyn WeightSource + Send + Sync>,
    embedding: String,
    blocks: Vec<Block>,
    output_norm: Vec<f32>,
    output: PackedMatrix,
    cache: KvCache,
    rope: RopeTable,
    work: Work,
}

struct Block {
    attention_norm: Vec<f32>,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    feed_forward_norm: Vec<f32>,
    gate: Linear,
    up: Linear,
    down: Linear,
}

struct Linear {
    weight: PackedMatrix,
    bias: Option<Vec<f32>>,
}

impl Linear {
    fn load(
        source: &dyn WeightSource,
        role: Role,
        layer: usize,
        rows: usize,
        cols: usize,
    ) -> Result<Self, ModelError> {
        let bias = source.name(role, layer, Part::Bias);
        Ok(Self {
            weight: pack(source, &source.name(role, layer, Part::Weight), rows, cols)?,
            bias: if source.has(&bias) { Some(vector_of(source, &bias, rows)?) } else { None },
        })
    }
}

fn pack(source: &dyn WeightSource, name: &str, rows: usize, cols: usize) -> Result<PackedMatrix, ModelError> {
    let view = matrix_of(source, name, rows, cols)?;
    PackedMatrix::pack(&view)
        .ok_or_else(|| ModelError::Unsupported(format!("tensor `{name}` of type {:?}", view.dtype)))
}

/// Keys and values of all pages, a vector a layer.
struct KvCache {
    pages: usize,
    page_size: usize,
    k: Vec<Aligned>,
    v: Vec<Aligned>,
}

/// Cosines and sines of every position seen so far.
#[derive(Default)]
struct RopeTable {
    inverse_frequencies: Vec<f32>,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl RopeTable {
    fn extend_to(&mut self, positions: usize) {
        let half = self.inverse_frequencies.len();
        for position in self.cos.len() / half..positions {
            for &f in &self.inverse_frequencies {
                let (cos, sin) = ModelConfig::turn(position, f);
                self.cos.push(cos);
                self.sin.push(sin);
            }
        }
    }

    fn at(&self, position: usize) -> (&[f32], &[f32]) {
        let half = self.inverse_frequencies.len();
        (&self.cos[position * half..][..half], &self.sin[position * half..][..half])
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
    context: Vec<f32>,
    delta: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    logits: Vec<f32>,
    rows: Vec<Row>,
    scratch: Scratch,
}

/// Rows that one task of the small operations takes: a few sequences' next tokens are hardly worth a second thread.
fn rows_a_task(rows: usize) -> usize {
    (rows / team::threads()).clamp(4, 16)
}

/// RMS norm of every row, shared among the threads.
fn norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let size = rows_a_task(x.len() / weight.len()) * weight.len();
    let parts = x.chunks(size).zip(out.chunks_mut(size));
    team::each(parts, |(x, out)| ops::rms_norm(x, weight, eps, out));
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
        config.check()?;
        let s = &*source;
        let (hidden, ff) = (config.hidden, config.feed_forward);
        let (q_dim, kv_dim) =
            (config.shape.heads * config.shape.head_dim, config.shape.kv_heads * config.shape.head_dim);
        let norm = |role, layer| vector_of(s, &s.name(role, layer, Part::Weight), hidden);
        let mut blocks = Vec::new();
        for layer in 0..config.layers {
            blocks.push(Block {
                attention_norm: norm(Role::AttentionNorm, layer)?,
                q: Linear::load(s, Role::Q, layer, q_dim, hidden)?,
                k: Linear::load(s, Role::K, layer, kv_dim, hidden)?,
                v: Linear::load(s, Role::V, layer, kv_dim, hidden)?,
                o: Linear::load(s, Role::O, layer, hidden, q_dim)?,
                feed_forward_norm: norm(Role::FeedForwardNorm, layer)?,
                gate: Linear::load(s, Role::Gate, layer, ff, hidden)?,
                up: Linear::load(s, Role::Up, layer, ff, hidden)?,
                down: Linear::load(s, Role::Down, layer, hidden, ff)?,
            });
        }
        let embedding = s.name(Role::Embedding, 0, Part::Weight);
        matrix_of(s, &embedding, config.vocab, hidden)?;
        let output = if config.tied { embedding.clone() } else { s.name(Role::Output, 0, Part::Weight) };
        let page_size = config.shape.page_size();
        let pages = (kv_bytes / (config.kv_bytes_per_token() * PAGE)).clamp(4, 1 << 24);
        Ok(Self {
            blocks,
            output_norm: norm(Role::OutputNorm, 0)?,
            output: pack(s, &output, config.vocab, hidden)?,
            embedding,
            // Zeroed memory is only backed by the system once it is written: an unused page costs nothing.
            cache: KvCache {
                pages,
                page_size,
                k: (0..config.layers).map(|_| Aligned::zeros(pages * page_size)).collect(),
                v: (0..config.layers).map(|_| Aligned::zeros(pages * page_size)).collect(),
            },
            rope: RopeTable { inverse_frequencies: config.inverse_frequencies(), ..Default::default() },
            work: Work::default(),
            config,
            source,
        })
    }

    /// The hyperparameters.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Bytes that a forward pass with logits reads of the weights.
    pub fn weight_bytes(&self) -> usize {
        let blocks = self.blocks.iter().flat_map(|b| [&b.q, &b.k, &b.v, &b.o, &b.gate, &b.up, &b.down]);
        blocks.map(|l| l.weight.bytes()).sum::<usize>() + self.output.bytes()
    }

    /// The forward pass up to the logits: appends the wanted rows (f32, `vocab` each), span by span, to `logits`.
    pub fn logits(&mut self, spans: &[Span<'_>], logits: &mut Vec<f32>) {
        self.embed(spans);
        if self.work.rows.is_empty() {
            return;
        }
        for layer in 0..self.blocks.len() {
            self.attention(layer, spans);
            self.feed_forward(layer);
        }
        self.project(spans, logits);
    }

    fn embed(&mut self, spans: &[Span<'_>]) {
        let hidden = self.config.hidden;
        let work = &mut self.work;
        work.rows.clear();
        for (index, span) in spans.iter().enumerate() {
            work.rows.extend((0..span.tokens.len()).map(|i| Row { span: index, position: span.start + i }));
        }
        work.x.resize(work.rows.len() * hidden, 0.0);
        let view = self.source.matrix(&self.embedding).expect("checked when the model was loaded");
        let tokens = spans.iter().flat_map(|s| s.tokens);
        for (x, &token) in work.x.chunks_exact_mut(hidden).zip(tokens) {
            view.row_f32(token as usize, x);
        }
        let last = work.rows.iter().map(|r| r.position + 1).max().unwrap_or(0);
        self.rope.extend_to(last);
    }

    /// `x += attention(norm(x))` for one block.
    fn attention(&mut self, layer: usize, spans: &[Span<'_>]) {
        let (block, shape, work) = (&self.blocks[layer], self.config.shape, &mut self.work);
        let rows = work.rows.len();
        let (q_dim, kv_dim) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
        work.normed.resize(rows * self.config.hidden, 0.0);
        norm(&work.x, &block.attention_norm, self.config.rms_eps, &mut work.normed);
        work.q.resize(rows * q_dim, 0.0);
        work.k.resize(rows * kv_dim, 0.0);
        work.v.resize(rows * kv_dim, 0.0);
        let mut products = [
            Product { weights: &block.q.weight, out: &mut work.q },
            Product { weights: &block.k.weight, out: &mut work.k },
            Product { weights: &block.v.weight, out: &mut work.v },
        ];
        matmul(&work.normed, rows, &mut products, &mut work.scratch);
        for (x, linear) in [(&mut work.q, &block.q), (&mut work.k, &block.k), (&mut work.v, &block.v)] {
            if let Some(bias) = &linear.bias {
                ops::add_bias(x, bias);
            }
        }

        let scale = 1.0 / (shape.head_dim as f32).sqrt();
        let (k_layer, v_layer) = (&mut self.cache.k[layer], &mut self.cache.v[layer]);
        let (rope, pairs) = (&self.rope, self.config.rope_pairs);
        let size = rows_a_task(rows);
        let turns = work.q.chunks_mut(size * q_dim).zip(work.rows.chunks(size));
        team::each(turns, |(q, rows)| {
            for (q, row) in q.chunks_exact_mut(q_dim).zip(rows) {
                let (cos, sin) = rope.at(row.position);
                ops::rope(q, shape.head_dim, cos, sin, pairs);
                q.iter_mut().for_each(|q| *q *= scale);
            }
        });
        for (i, row) in work.rows.iter().enumerate() {
            let (cos, sin) = rope.at(row.position);
            let k = &mut work.k[i * kv_dim..][..kv_dim];
            ops::rope(k, shape.head_dim, cos, sin, pairs);
            let page = spans[row.span].pages[row.position / PAGE] as usize * self.cache.page_size;
            attention::store(
                shape,
                row.position % PAGE,
                k,
                &work.v[i * kv_dim..][..kv_dim],
                &mut k_layer[page..][..self.cache.page_size],
                &mut v_layer[page..][..self.cache.page_size],
            );
        }

        let queries: Vec<Query<'_>> =
            work.rows.iter().map(|r| Query { pages: spans[r.span].pages, len: r.position + 1 }).collect();
        work.context.resize(rows * q_dim, 0.0);
        attention::attend(KvLayer { shape, k: k_layer, v: v_layer }, &queries, &work.q, &mut work.context);

        work.delta.resize(rows * self.config.hidden, 0.0);
        let mut products = [Product { weights: &block.o.weight, out: &mut work.delta }];
        matmul(&work.context, rows, &mut products, &mut work.scratch);
        if let Some(bias) = &block.o.bias {
            ops::add_bias(&mut work.delta, bias);
        }
        ops::add_assign(&mut work.x, &work.delta);
    }

    /// `x += down(silu(gate(norm(x))) · up(norm(x)))` for one block.
    fn feed_forward(&mut self, layer: usize) {
        let (block, work) = (&self.blocks[layer], &mut self.work);
        let rows = work.rows.len();
        norm(&work.x, &block.feed_forward_norm, self.config.rms_eps, &mut work.normed);
        work.gate.resize(rows * self.config.feed_forward, 0.0);
        work.up.resize(rows * self.config.feed_forward, 0.0);
        let mut products = [
            Product { weights: &block.gate.weight, out: &mut work.gate },
            Product { weights: &block.up.weight, out: &mut work.up },
        ];
        matmul(&work.normed, rows, &mut products, &mut work.scratch);
        for (x, linear) in [(&mut work.gate, &block.gate), (&mut work.up, &block.up)] {
            if let Some(bias) = &linear.bias {
                ops::add_bias(x, bias);
            }
        }
        let size = rows_a_task(rows) * self.config.feed_forward;
        let parts = work.gate.chunks_mut(size).zip(work.up.chunks(size));
        team::each(parts, |(gate, up)| ops::swiglu(gate, up));
        let mut products = [Product { weights: &block.down.weight, out: &mut work.delta }];
        matmul(&work.gate, rows, &mut products, &mut work.scratch);
        if let Some(bias) = &block.down.bias {
            ops::add_bias(&mut work.delta, bias);
        }
        ops::add_assign(&mut work.x, &work.delta);
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
        norm(&work.delta, &self.output_norm, self.config.rms_eps, &mut work.normed);
        let start = logits.len();
        logits.resize(start + rows * self.config.vocab, 0.0);
        let mut products = [Product { weights: &self.output, out: &mut logits[start..] }];
        matmul(&work.normed, rows, &mut products, &mut work.scratch);
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
        let size = self.cache.page_size;
        let (from, to) = (from as usize * size, to as usize * size);
        for layer in self.cache.k.iter_mut().chain(&mut self.cache.v) {
            layer.copy_within(from..from + size, to);
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
