//! Some blocks of a decoder on one GPU: their weights, their pages, and the launches of a pass through them.
//!
//! A block is six launches. What follows a product is done where its sums are: queries, keys and values leave it turned
//! and in their pages, and the residual stream leaves it ready for the next norm, whose scale the product after it takes
//! in. Passes of few rows are recorded as graphs, one for each shape, and replayed with other words in the same memory.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::batch::{Batch, Places, Shape, most_parts};
use super::driver::{Buffer, Gpu, Graph, Grid, Kernel, Staging};
use super::loader::{Block, Linear, Loader, angles};
use super::select::Selector;
use super::weights::{Format, TILE};
use crate::model::ModelError;
use crate::model::config::ModelConfig;
use crate::model::weights::{Role, Tensors, WeightSource};

/// Rows of one pass at most.
pub(super) const MOST_ROWS: usize = 512;
/// Rows of a pass at most that is recorded as a graph.
const GRAPH_ROWS: usize = 64;
/// Values of unfinished sums of attention at most: rows × heads × parts × head size.
const ATTENTION_SUMS: usize = 1 << 25;
/// Row tiles from which on there are blocks enough without several of them sharing one.
const MANY_ROW_TILES: usize = 1056;

/// What the product of a matrix is followed by; the numbers are those of `linear.cu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    Logits = 0,
    Heads = 1,
    Residual = 2,
    Gate = 3,
}

/// `Linear` in `linear.cu`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct LinearArguments {
    weights: u64,
    scales: u64,
    offsets: u64,
    x: u64,
    bias: u64,
    pass: u64,
    token_of: u64,
    squares: u64,
    partial: u64,
    counters: u64,
    row_tiles: u32,
    k_tiles: u32,
    units: u32,
    parts: u32,
    width: f32,
    epsilon: f32,
    zero: u32,
    task: u32,
    out: u64,
    rows: u64,
    keys: u64,
    values: u64,
    places: u64,
    angles: u64,
    outputs: u32,
    stride: u32,
    heads: u32,
    kv_heads: u32,
    dim_tiles: u32,
    first_tile: u32,
    out_tiles: u32,
    unused: u32,
}

/// `Attention` in `attention.cu`.
#[derive(Clone, Copy)]
#[repr(C)]
struct AttentionArguments {
    pass: u64,
    items: u64,
    list: u64,
    lengths: u64,
    queries: u64,
    keys: u64,
    values: u64,
    sums: u64,
    scales: u64,
    out: u64,
    heads: u32,
    kv_heads: u32,
    dim: u32,
    factor: f32,
}

/// `Embed` in `embed.cu`.
#[derive(Clone, Copy)]
#[repr(C)]
struct EmbedArguments {
    pass: u64,
    tokens: u64,
    table: u64,
    norm: u64,
    stream: u64,
    x: u64,
    squares: u64,
    width: u32,
    parts: u32,
    is_f16: u32,
    unused: u32,
}

/// `CopyPages` in `pages.cu`.
#[derive(Clone, Copy)]
#[repr(C)]
struct CopyPagesArguments {
    pages: u64,
    pairs: u64,
    size: u64,
    count: u64,
}

// The kernels assert the same.
const _: () = assert!(
    size_of::<LinearArguments>() == 192
        && size_of::<AttentionArguments>() == 96
        && size_of::<EmbedArguments>() == 72
        && size_of::<CopyPagesArguments>() == 32
);

/// The kernels of one weight format, by how many rows they take.
struct LinearKernels {
    by_8: [Kernel; 4],
    many: Kernel,
}

impl LinearKernels {
    fn new(gpu: &Gpu, format: Format) -> Result<Self, ModelError> {
        let kernel = |rows: &str| gpu.kernel(&format!("{}_{rows}", format.kernel()));
        Ok(Self { by_8: [kernel("8")?, kernel("16")?, kernel("32")?, kernel("64")?], many: kernel("many")? })
    }
}

/// Keys and values: `[layer][keys, values][page][kv_head]`, a page of a head as `layout.cuh` says.
struct Pages {
    memory: Buffer<u16>,
    count: usize,
    /// Values of a page of one layer's keys.
    size: usize,
}

impl Pages {
    fn keys(&self, layer: usize) -> u64 {
        self.memory.at(2 * layer * self.count * self.size)
    }

    fn values(&self, layer: usize) -> u64 {
        self.memory.at((2 * layer + 1) * self.count * self.size)
    }
}

/// Memory that every pass uses anew.
struct Work {
    stream: Buffer<f32>,
    x: Buffer<u16>,
    squares: Buffer<f32>,
    queries: Buffer<u16>,
    context: Buffer<u16>,
    gated: Buffer<u16>,
    sums: Buffer<f32>,
    scales: Buffer<f32>,
    partial: Buffer<f32>,
    counters: Buffer<u32>,
    words: Buffer<u32>,
    copies: Buffer<u32>,
    staging: Staging<u32>,
}

/// The beginning of a pass: tokens become rows.
struct Embedding {
    table: Buffer<u16>,
    is_f16: bool,
    kernel: Kernel,
}

/// The end of a pass: rows become logits.
struct Output {
    linear: Linear,
    selector: Selector,
}

/// A part of a decoder, ready to run.
pub(super) struct Stage {
    config: ModelConfig,
    embedding: Option<Embedding>,
    blocks: Vec<Block>,
    /// Of the block after these, or of the output.
    next_norm: Buffer<f32>,
    output: Option<Output>,
    pages: Option<Pages>,
    angles: Buffer<f32>,
    work: Work,
    /// The recorded passes; nothing for a shape that came once.
    graphs: HashMap<Shape, Option<Graph>>,
    linear_kernels: HashMap<&'static str, LinearKernels>,
    attention: Kernel,
    merge: Kernel,
    copy_pages: Kernel,
    gpu: Arc<Gpu>,
}

impl Stage {
    /// Copies the weights of some blocks to a GPU. The first stage has the embeddings, the last one the output.
    pub fn load(
        gpu: Arc<Gpu>,
        source: &(dyn WeightSource + Sync),
        config: &ModelConfig,
        layers: Range<usize>,
    ) -> Result<Self, ModelError> {
        let loader = Loader { gpu: &gpu, tensors: Tensors { source, config, quantise: None }, config };
        let embedding = if layers.start == 0 {
            let (table, is_f16) = loader.embedding()?;
            Some(Embedding { table, is_f16, kernel: gpu.kernel("embed")? })
        } else {
            None
        };
        let blocks = layers.clone().map(|layer| loader.block(layer)).collect::<Result<Vec<_>, _>>()?;
        let is_last = layers.end == config.layers;
        let output = if is_last {
            let role = if config.tied { Role::Embedding } else { Role::Output };
            let linear = loader.plain(role, 0, config.vocab, config.hidden)?;
            Some(Output { linear, selector: Selector::new(&gpu, config.vocab, MOST_ROWS)? })
        } else {
            None
        };
        let next_norm = match is_last {
            true => loader.norm(Role::OutputNorm, 0)?,
            false => loader.norm(Role::AttentionNorm, layers.end)?,
        };
        let (mut linear_kernels, mut most_row_tiles) = (HashMap::new(), 0);
        for linear in
            blocks.iter().flat_map(Block::linears).chain(output.as_ref().map(|output| &output.linear))
        {
            let format = linear.matrix.format;
            if !linear_kernels.contains_key(format.kernel()) {
                linear_kernels.insert(format.kernel(), LinearKernels::new(&gpu, format)?);
            }
            most_row_tiles = most_row_tiles.max(linear.matrix.row_tiles);
        }
        Ok(Self {
            attention: gpu.kernel(&format!("attention_{}", config.attention.shape.head_dim / TILE))?,
            merge: gpu.kernel("attention_merge")?,
            copy_pages: gpu.kernel("copy_pages")?,
            embedding,
            blocks,
            next_norm,
            output,
            pages: None,
            angles: gpu
                .buffer_of(&angles(config, config.rope().expect("checked before: all heads turn alike")))?,
            work: Work::new(&gpu, config, most_row_tiles)?,
            graphs: HashMap::new(),
            linear_kernels,
            config: config.clone(),
            gpu,
        })
    }

    /// The device.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// Bytes that a pass with logits reads of the weights.
    pub fn weight_bytes(&self) -> usize {
        let linears = self.blocks.iter().flat_map(Block::linears);
        linears
            .chain(self.output.as_ref().map(|output| &output.linear))
            .map(|linear| linear.matrix.bytes())
            .sum()
    }

    /// The rows of logits and what chooses from them, where this is the last stage.
    pub fn selector(&mut self) -> Option<&mut Selector> {
        self.output.as_mut().map(|output| &mut output.selector)
    }

    /// Values of a page in all layers.
    fn page_values(&self) -> usize {
        2 * self.blocks.len() * self.config.attention.shape.page_size()
    }

    /// Pages that fit what is left of a share of the device's memory.
    pub fn room_for_pages(&self, share: f64) -> Result<usize, ModelError> {
        let (free, total) = self.gpu.memory()?;
        let left = ((total as f64 * share.clamp(0.0, 1.0)) as usize).saturating_sub(total - free);
        // Rows of logits come and go; some memory stays for them.
        let left =
            left.saturating_sub(self.output.as_ref().map_or(0, |output| output.selector.rows.reserve()));
        Ok(left / (2 * self.page_values()))
    }

    /// Takes memory for pages.
    pub fn take_pages(&mut self, count: usize) -> Result<(), ModelError> {
        // Zeros, as what a masked position holds is multiplied by nothing: it must be a number.
        let memory = self.gpu.zeros(count * self.page_values())?;
        self.pages = Some(Pages { memory, count, size: self.config.attention.shape.page_size() });
        Ok(())
    }

    fn pages(&self) -> &Pages {
        self.pages.as_ref().expect("pages are taken when the decoder is loaded")
    }

    /// Copies pages, all at once: none of them may need another.
    pub fn copy_pages(&mut self, pairs: &[(u32, u32)]) -> Result<(), ModelError> {
        let words: Vec<u32> = pairs.iter().flat_map(|&(from, to)| [from, to]).collect();
        self.work.staging.write(&self.work.copies, &words)?;
        let pages = self.pages();
        let arguments = CopyPagesArguments {
            pages: pages.memory.address(),
            pairs: self.work.copies.address(),
            size: (pages.size * 2 / 16) as u64,
            count: pages.count as u64,
        };
        let grid = Grid { blocks: [pairs.len(), 2 * self.blocks.len(), 1], threads: 256 };
        // SAFETY: pages are numbered below their count; the pairs are as many as there are blocks.
        unsafe { self.gpu.launch(self.copy_pages, grid, &arguments) }
    }

    /// As many of `rows` first rows, of which the one that sees most sees `longest` positions, as one pass may take.
    pub fn rows_at_once(config: &ModelConfig, rows: usize, longest: usize) -> usize {
        let a_row = most_parts(longest) * config.attention.shape.heads * config.attention.shape.head_dim;
        rows.min(MOST_ROWS).min((ATTENTION_SUMS / a_row).max(1))
    }

    /// Computes a pass, after `before` has computed its part.
    pub fn pass(&mut self, batch: &Batch, before: Option<&Stage>) -> Result<(), ModelError> {
        batch.write(&mut self.work.staging, &self.work.words)?;
        if let Some(before) = before {
            self.take_over(before, batch.shape.tokens)?;
        }
        let shape = batch.shape;
        if shape.tokens > GRAPH_ROWS {
            return self.launch_all(shape);
        }
        match self.graphs.get_mut(&shape) {
            Some(Some(graph)) => graph.launch(),
            Some(None) => {
                let mut graph = self.gpu.record(|| self.launch_all(shape))?;
                graph.launch()?;
                self.graphs.insert(shape, Some(graph));
                Ok(())
            }
            // The first time as it is: the driver loads a kernel when it is first started, which it must not do while it
            // records. And a shape that never comes again needs no graph.
            None => {
                self.graphs.insert(shape, None);
                self.launch_all(shape)
            }
        }
    }

    /// Copies the rows of the stage before to this one.
    fn take_over(&self, before: &Stage, tokens: usize) -> Result<(), ModelError> {
        before.gpu.synchronize()?;
        let (hidden, tiles) = (self.config.hidden, self.config.hidden.div_ceil(TILE));
        self.work.stream.copy_from(&before.work.stream, tokens * hidden)?;
        self.work.x.copy_from(&before.work.x, tokens * tiles * TILE)?;
        self.work.squares.copy_from(&before.work.squares, tokens * tiles)?;
        // The stage before may go on with the next pass, in this memory.
        self.gpu.synchronize()
    }

    /// All launches of a pass.
    fn launch_all(&self, shape: Shape) -> Result<(), ModelError> {
        let pages = self.pages();
        let places = shape.places(&self.work.words);
        let (config, work) = (&self.config, &self.work);
        let hidden_tiles = config.hidden.div_ceil(TILE) as u32;
        if let Some(embedding) = &self.embedding {
            let arguments = EmbedArguments {
                pass: places.pass,
                tokens: places.tokens,
                table: embedding.table.address(),
                norm: self.blocks[0].attention_norm.address(),
                stream: work.stream.address(),
                x: work.x.address(),
                squares: work.squares.address(),
                width: config.hidden as u32,
                parts: hidden_tiles,
                is_f16: u32::from(embedding.is_f16),
                unused: 0,
            };
            let grid = Grid { blocks: [shape.tokens, 1, 1], threads: 256 };
            // SAFETY: the work memory has room for as many rows as a shape has; tokens are in the vocabulary (the engine
            // looks at each).
            unsafe { self.gpu.launch(embedding.kernel, grid, &arguments)? };
        }

        let normed = LinearArguments {
            x: work.x.address(),
            squares: work.squares.address(),
            parts: hidden_tiles,
            width: config.hidden as f32,
            epsilon: config.norm.eps,
            pass: places.pass,
            ..LinearArguments::default()
        };
        for (layer, block) in self.blocks.iter().enumerate() {
            let next_norm = self.blocks.get(layer + 1).map_or(&self.next_norm, |next| &next.attention_norm);
            for linear in &block.heads {
                let arguments = LinearArguments {
                    out: work.queries.address(),
                    rows: places.positions,
                    keys: pages.keys(layer),
                    values: pages.values(layer),
                    places: places.places,
                    angles: self.angles.address(),
                    heads: config.attention.shape.heads as u32,
                    kv_heads: config.attention.shape.kv_heads as u32,
                    dim_tiles: (config.attention.shape.head_dim / TILE) as u32,
                    ..normed
                };
                self.linear(Task::Heads, linear, shape.tokens, arguments)?;
            }
            self.attend(pages, layer, shape, &places)?;
            let context =
                LinearArguments { x: work.context.address(), pass: places.pass, ..Default::default() };
            self.residual(&block.attention_out, shape.tokens, &block.feed_forward_norm, context)?;
            let arguments = LinearArguments {
                out: work.gated.address(),
                outputs: config.feed_forward.width as u32,
                out_tiles: config.feed_forward.width.div_ceil(TILE) as u32,
                ..normed
            };
            self.linear(Task::Gate, &block.gate_up, shape.tokens, arguments)?;
            let gated = LinearArguments { x: work.gated.address(), pass: places.pass, ..Default::default() };
            self.residual(&block.down, shape.tokens, next_norm, gated)?;
        }
        if let Some(Output { linear, selector }) = &self.output
            && shape.wanted > 0
        {
            let arguments = LinearArguments {
                token_of: places.wanted_tokens,
                out: selector.rows.slabs(),
                rows: places.wanted_rows,
                outputs: config.vocab as u32,
                stride: selector.rows.stride() as u32,
                ..normed
            };
            self.linear(Task::Logits, linear, shape.wanted, arguments)?;
            // SAFETY: the words say which rows, and how many; these were taken for this pass.
            unsafe { selector.normalise(places.wanted_rows, places.pass, shape.wanted)? };
        }
        Ok(())
    }

    /// A product that is added to the residual stream, made ready for `next_norm`.
    fn residual(
        &self,
        linear: &Linear,
        tokens: usize,
        next_norm: &Buffer<f32>,
        input: LinearArguments,
    ) -> Result<(), ModelError> {
        let arguments = LinearArguments {
            rows: self.work.stream.address(),
            keys: next_norm.address(),
            values: self.work.x.address(),
            places: self.work.squares.address(),
            outputs: self.config.hidden as u32,
            out_tiles: self.config.hidden.div_ceil(TILE) as u32,
            ..input
        };
        self.linear(Task::Residual, linear, tokens, arguments)
    }

    fn linear(
        &self,
        task: Task,
        linear: &Linear,
        tokens: usize,
        arguments: LinearArguments,
    ) -> Result<(), ModelError> {
        let matrix = &linear.matrix;
        let address = |b: &Option<Buffer<f32>>| b.as_ref().map_or(0, Buffer::address);
        let zero = match matrix.format {
            Format::Nibbles { zero, .. } => zero,
            _ => 0,
        };
        let arguments = LinearArguments {
            weights: matrix.weights.address(),
            scales: address(&matrix.scales),
            offsets: address(&matrix.offsets),
            bias: address(&linear.bias),
            partial: self.work.partial.address(),
            counters: self.work.counters.address(),
            row_tiles: matrix.row_tiles as u32,
            k_tiles: matrix.k_tiles as u32,
            units: matrix.units as u32,
            zero,
            task: task as u32,
            first_tile: linear.first_tile as u32,
            ..arguments
        };
        let kernels = &self.linear_kernels[matrix.format.kernel()];
        let tiles = matrix.row_tiles;
        // As `linear` in `linear.cu` shares the work: blocks along row tiles, slices and tokens; for many the other way
        // round.
        let (kernel, blocks) = match tokens {
            8 => (kernels.by_8[0], [tiles, 1, 1]),
            16 => (kernels.by_8[1], [tiles, 1, 1]),
            32 => (kernels.by_8[2], [tiles.div_ceil(2), 2, 1]),
            64 if tiles < MANY_ROW_TILES => (kernels.by_8[3], [tiles.div_ceil(4), 4, 1]),
            _ => (kernels.many, [tokens.div_ceil(matrix.format.many()), 1, tiles.div_ceil(4)]),
        };
        // SAFETY: the addresses are those of this decoder's memory, made for these shapes; all work is in one stream.
        unsafe { self.gpu.launch(kernel, Grid { blocks, threads: 256 }, &arguments) }
    }

    fn attend(&self, pages: &Pages, layer: usize, shape: Shape, places: &Places) -> Result<(), ModelError> {
        let heads = self.config.attention.shape;
        let arguments = AttentionArguments {
            pass: places.pass,
            items: places.items,
            list: places.list,
            lengths: places.lengths,
            queries: self.work.queries.address(),
            keys: pages.keys(layer),
            values: pages.values(layer),
            sums: self.work.sums.address(),
            scales: self.work.scales.address(),
            out: self.work.context.address(),
            heads: heads.heads as u32,
            kv_heads: heads.kv_heads as u32,
            dim: heads.head_dim as u32,
            factor: std::f32::consts::LOG2_E / (heads.head_dim as f32).sqrt(),
        };
        let grid = |x, y| Grid { blocks: [x, y, 1], threads: 128 };
        // SAFETY: as above; the words name only pages and rows that there are.
        unsafe {
            self.gpu.launch(self.attention, grid(shape.items, heads.kv_heads), &arguments)?;
            self.gpu.launch(self.merge, grid((shape.tokens * heads.heads).div_ceil(4), 1), &arguments)
        }
    }
}

impl Work {
    fn new(gpu: &Arc<Gpu>, config: &ModelConfig, most_row_tiles: usize) -> Result<Self, ModelError> {
        let (hidden, q_dim) = (
            config.hidden.div_ceil(TILE) * TILE,
            config.attention.shape.heads * config.attention.shape.head_dim,
        );
        let gated = config.feed_forward.width.div_ceil(TILE) * TILE;
        // Rows and parts of a pass are bounded together, but one row must always fit.
        let parts = (ATTENTION_SUMS / q_dim).max(most_parts(config.context));
        let pairs_of_64 = most_row_tiles.min(MANY_ROW_TILES).div_ceil(4) * 4 * (4 * 64 * 8);
        let pairs_of_32 = most_row_tiles.div_ceil(2) * 2 * (2 * 32 * 8);
        Ok(Self {
            stream: gpu.zeros(MOST_ROWS * config.hidden)?,
            x: gpu.zeros(MOST_ROWS * hidden)?,
            squares: gpu.zeros(MOST_ROWS * hidden / TILE)?,
            queries: gpu.zeros(MOST_ROWS * q_dim)?,
            context: gpu.zeros(MOST_ROWS * q_dim)?,
            gated: gpu.zeros(MOST_ROWS * gated)?,
            sums: gpu.alloc(parts * q_dim)?,
            scales: gpu.alloc(2 * parts * config.attention.shape.heads)?,
            partial: gpu.alloc(2 * pairs_of_64.max(pairs_of_32))?,
            counters: gpu.zeros(most_row_tiles.div_ceil(2))?,
            words: gpu.alloc(Batch::most_words(parts))?,
            copies: gpu.alloc(2 * MOST_ROWS)?,
            staging: Staging::new(gpu, 1 << 12)?,
        })
    }
}
