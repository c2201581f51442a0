//! The tensors of a file, in device memory.

use std::sync::Arc;

use half::f16;
use rayon::prelude::*;

use super::driver::{Buffer, Gpu};
use super::weights::{Format, Matrix, RowOf, TILE};
use crate::model::ModelError;
use crate::model::config::ModelConfig;
use crate::model::cpu::ops::RopePairs;
use crate::model::cpu::packed::MatrixView;
use crate::model::quant::WeightType;
use crate::model::rope::Rope;
use crate::model::weights::{Net, Part, Role, Tensors};

/// A matrix and the bias of its outputs.
pub(super) struct Linear {
    pub matrix: Matrix,
    pub bias: Option<Buffer<f32>>,
    /// Of the heads: the first of its row tiles among those of all heads.
    pub first_tile: usize,
}

/// The weights of a block.
pub(super) struct Block {
    pub attention_norm: Buffer<f32>,
    /// Queries, keys and values; those of one type of weights in one matrix.
    pub heads: Vec<Linear>,
    pub attention_out: Linear,
    pub feed_forward_norm: Buffer<f32>,
    pub gate_up: Linear,
    pub down: Linear,
}

impl Block {
    /// Its matrices.
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.heads.iter().chain([&self.attention_out, &self.gate_up, &self.down])
    }
}

/// The source of row `row` of row tiles that hold the heads of a projection: of a tile, row r < 8 and row r + 8 are the two
/// dimensions that a rotation turns together.
fn turned_row(row: usize, dim: usize, pairs: RopePairs) -> usize {
    let (head, within) = (row / dim, row % dim);
    let (pair, second) = (within / TILE * 8 + within % 8, within % TILE / 8);
    head * dim
        + match pairs {
            RopePairs::Halves => pair + second * dim / 2,
            RopePairs::Interleaved => 2 * pair + second,
        }
}

/// Reads the tensors of a file for the device.
pub(super) struct Loader<'a> {
    pub gpu: &'a Arc<Gpu>,
    pub tensors: Tensors<'a>,
    pub config: &'a ModelConfig,
}

impl<'a> Loader<'a> {
    fn view(&self, role: Role, layer: usize, rows: usize, cols: usize) -> Result<MatrixView<'a>, ModelError> {
        self.tensors.matrix(role, layer, rows, cols)
    }

    pub fn norm(&self, role: Role, layer: usize) -> Result<Buffer<f32>, ModelError> {
        self.gpu.buffer_of(&self.tensors.vector(role, layer, Part::Weight, self.config.hidden)?)
    }

    /// A matrix of `rows` rows, each a row of one of `parts`; `from` says which row of which part.
    fn linear(
        &self,
        parts: &[(MatrixView<'a>, Option<Vec<f32>>)],
        rows: usize,
        from: &(dyn Fn(usize) -> Option<(usize, usize)> + Sync),
    ) -> Result<Linear, ModelError> {
        let views: Vec<MatrixView<'a>> = parts.iter().map(|(view, _)| *view).collect();
        let formats: Vec<Format> = views.iter().map(|view| Format::of(view.dtype)).collect();
        // Parts of different types that one product needs together are rounded to bf16.
        let format = if formats.iter().all(|f| *f == formats[0]) { formats[0] } else { Format::Bf16 };
        let row_of: &RowOf<'_> = &|row| from(row).map(|(part, row)| (views[part], row));
        let matrix = Matrix::load(self.gpu, format, rows, views[0].cols, row_of)?;
        let bias = if parts.iter().any(|(_, bias)| bias.is_some()) {
            let value =
                |row| from(row).and_then(|(part, row)| Some(parts[part].1.as_ref()?[row])).unwrap_or(0.0);
            Some(self.gpu.buffer_of(&(0..matrix.row_tiles * TILE).map(value).collect::<Vec<f32>>())?)
        } else {
            None
        };
        Ok(Linear { matrix, bias, first_tile: 0 })
    }

    pub fn plain(&self, role: Role, layer: usize, rows: usize, cols: usize) -> Result<Linear, ModelError> {
        let part = (self.view(role, layer, rows, cols)?, self.tensors.bias(role, layer, rows)?);
        self.linear(&[part], rows, &|row| (row < rows).then_some((0, row)))
    }

    /// Queries, keys and values, neighbours of one type together.
    fn heads(&self, layer: usize) -> Result<Vec<Linear>, ModelError> {
        let (shape, hidden) = (self.config.attention.shape, self.config.hidden);
        let rope = self.config.rope().expect("checked before: all heads turn alike");
        let dim = shape.head_dim;
        let mut all = Vec::new();
        for (role, heads) in [(Role::Q, shape.heads), (Role::K, shape.kv_heads), (Role::V, shape.kv_heads)] {
            let view = self.view(role, layer, heads * dim, hidden)?;
            all.push((role, heads * dim, (view, self.tensors.bias(role, layer, heads * dim)?)));
        }
        let (mut linears, mut first_tile) = (Vec::new(), 0);
        for same in all.chunk_by(|a, b| Format::of(a.2.0.dtype) == Format::of(b.2.0.dtype)) {
            let rows: usize = same.iter().map(|(_, rows, _)| rows).sum();
            let from = |mut row: usize| {
                for (index, (role, rows, _)) in same.iter().enumerate() {
                    if row < *rows {
                        let turned = *role != Role::V;
                        return Some((index, if turned { turned_row(row, dim, rope.pairs) } else { row }));
                    }
                    row -= rows;
                }
                None
            };
            let parts: Vec<_> = same.iter().map(|(_, _, part)| part.clone()).collect();
            let linear = self.linear(&parts, rows, &from)?;
            linears.push(Linear { first_tile, ..linear });
            first_tile += rows / TILE;
        }
        Ok(linears)
    }

    /// Gate and up, eight rows of each in a row tile.
    fn gate_up(&self, layer: usize) -> Result<Linear, ModelError> {
        let (ff, hidden) = (self.config.feed_forward.width, self.config.hidden);
        let mut parts = Vec::new();
        for role in [Role::Gate(Net::Whole), Role::Up(Net::Whole)] {
            parts.push((self.view(role, layer, ff, hidden)?, self.tensors.bias(role, layer, ff)?));
        }
        let from = |row: usize| {
            let output = row / TILE * 8 + row % 8;
            (output < ff).then_some((row % TILE / 8, output))
        };
        self.linear(&parts, ff.div_ceil(8) * TILE, &from)
    }

    pub fn block(&self, layer: usize) -> Result<Block, ModelError> {
        let (hidden, ff) = (self.config.hidden, self.config.feed_forward.width);
        let q_dim = self.config.widths()[0];
        Ok(Block {
            attention_norm: self.norm(Role::AttentionNorm, layer)?,
            heads: self.heads(layer)?,
            attention_out: self.plain(Role::O, layer, hidden, q_dim)?,
            feed_forward_norm: self.norm(Role::FeedForwardNorm, layer)?,
            gate_up: self.gate_up(layer)?,
            down: self.plain(Role::Down(Net::Whole), layer, hidden, ff)?,
        })
    }

    /// The embedding table in 16 bits, and whether they are f16's.
    pub fn embedding(&self) -> Result<(Buffer<u16>, bool), ModelError> {
        let (vocab, hidden) = (self.config.vocab, self.config.hidden);
        let view = self.view(Role::Embedding, 0, vocab, hidden)?;
        if matches!(view.dtype, WeightType::BF16 | WeightType::F16) {
            let words: Vec<u16> =
                view.bytes.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)).collect();
            return Ok((self.gpu.buffer_of(&words)?, view.dtype == WeightType::F16));
        }
        let mut words = vec![0u16; vocab * hidden];
        words.par_chunks_mut(hidden).enumerate().for_each(|(row, words)| {
            let mut values = vec![0.0; hidden];
            view.row_f32(row, &mut values);
            for (word, value) in words.iter_mut().zip(values) {
                *word = f16::from_f32(value).to_bits();
            }
        });
        Ok((self.gpu.buffer_of(&words)?, true))
    }
}

/// Cosines and sines of every position, in pairs.
pub(super) fn angles(config: &ModelConfig, rope: &Rope) -> Vec<f32> {
    let (frequencies, magnitude) = (rope.inverse_frequencies(config.context), rope.magnitude());
    let turn = |position, f| {
        let (cos, sin) = Rope::turn(position, f);
        [cos * magnitude, sin * magnitude]
    };
    let at = |position: usize| frequencies.iter().flat_map(move |&f| turn(position, f));
    (0..config.context).into_par_iter().flat_map_iter(at).collect()
}
