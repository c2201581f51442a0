//! Weights as the kernels of `linear.cu` want them: in the order in which the lanes of a warp load them.
//!
//! Sixteen outputs are a row tile, sixteen inputs an input tile; a lane holds eight weights of each 16 × 16 tile. Dense
//! weights are bf16 (those of other types are rounded to it), quantised ones stay the integers they are, and nothing
//! of them is rounded.

use std::sync::Arc;

use half::bf16;
use rayon::prelude::*;

use super::driver::{Buffer, Gpu};
use crate::model::ModelError;
use crate::model::cpu::packed::MatrixView;
use crate::model::quant::{BlockFormat, WeightType};

/// Outputs of a row tile, and inputs of an input tile.
pub(super) const TILE: usize = 16;

/// How the weights of a matrix lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Dense.
    Bf16,
    /// A byte each, `group` weights to a scale.
    Bytes { group: usize, offsets: bool },
    /// Four bits each, 32 weights to a scale; `zero` is taken from the unsigned integers.
    Nibbles { zero: u32, offsets: bool },
}

impl Format {
    /// The format for a type of the file.
    pub fn of(dtype: WeightType) -> Self {
        match BlockFormat::of(dtype) {
            None => Self::Bf16,
            // There is no kernel for groups of 16 with offsets (Q2_K): rounded to bf16.
            Some(f) if f.group == 16 && f.has_offset => Self::Bf16,
            Some(f) if f.bits == 4 => Self::Nibbles { zero: f.zero as u32, offsets: f.has_offset },
            Some(f) => Self::Bytes { group: f.group, offsets: f.has_offset },
        }
    }

    /// Name of the kernels.
    pub fn kernel(self) -> &'static str {
        match self {
            Self::Bf16 => "linear_bf16",
            Self::Bytes { group: 16, .. } => "linear_bytes_16",
            Self::Bytes { offsets: false, .. } => "linear_bytes",
            Self::Bytes { offsets: true, .. } => "linear_bytes_offset",
            Self::Nibbles { offsets: false, .. } => "linear_nibbles",
            Self::Nibbles { offsets: true, .. } => "linear_nibbles_offset",
        }
    }

    /// Tokens of a block of the kernel for many.
    pub fn many(self) -> usize {
        if self == Self::Bf16 { 64 } else { 32 }
    }

    /// Bits that a weight takes on the device, its share of the scales included.
    pub fn bits(self) -> usize {
        match self {
            Self::Bf16 => 16,
            Self::Bytes { group, offsets } => 8 + 32 / group * (1 + usize::from(offsets)),
            Self::Nibbles { offsets, .. } => 5 + usize::from(offsets),
        }
    }

    /// Input tiles that a lane loads at once, 16 bytes.
    fn tiles_a_unit(self) -> usize {
        match self {
            Self::Bf16 => 1,
            Self::Bytes { .. } => 2,
            Self::Nibbles { .. } => 4,
        }
    }

    /// Weights that share a scale.
    fn group(self) -> Option<usize> {
        match self {
            Self::Bf16 => None,
            Self::Bytes { group, .. } => Some(group),
            Self::Nibbles { .. } => Some(32),
        }
    }
}

/// Where the rows of a packed matrix come from: a view and the number of one of its rows, or nothing (zeros).
pub(super) type RowOf<'a> = dyn Fn(usize) -> Option<(MatrixView<'a>, usize)> + Sync + 'a;

/// A matrix in device memory.
pub(super) struct Matrix {
    pub format: Format,
    pub row_tiles: usize,
    pub k_tiles: usize,
    /// Loads of a lane over all inputs.
    pub units: usize,
    pub weights: Buffer<u8>,
    pub scales: Option<Buffer<f32>>,
    pub offsets: Option<Buffer<f32>>,
}

/// A matrix as bytes, on its way there.
struct Packed {
    weights: Vec<u8>,
    scales: Vec<f32>,
    offsets: Vec<f32>,
}

/// The lane that holds a weight, and which of its eight: `row` and `k` within a tile.
fn place(row: usize, k: usize) -> (usize, usize) {
    let lane = row % 8 * 4 + k % 8 / 2;
    let register = row / 8 + k / 8 * 2;
    (lane, register * 2 + k % 2)
}

impl Matrix {
    /// Packs `rows` rows of `cols` weights.
    pub fn load(
        gpu: &Arc<Gpu>,
        format: Format,
        rows: usize,
        cols: usize,
        row_of: &RowOf<'_>,
    ) -> Result<Self, ModelError> {
        let (row_tiles, k_tiles) = (rows.div_ceil(TILE), cols.div_ceil(TILE));
        let units = k_tiles.div_ceil(format.tiles_a_unit());
        let packed = pack(format, row_tiles, units, cols, row_of);
        let some = |values: &[f32]| (!values.is_empty()).then(|| gpu.buffer_of(values)).transpose();
        Ok(Self {
            format,
            row_tiles,
            k_tiles,
            units,
            weights: gpu.buffer_of(&packed.weights)?,
            scales: some(&packed.scales)?,
            offsets: some(&packed.offsets)?,
        })
    }

    /// Bytes that a product reads.
    pub fn bytes(&self) -> usize {
        let lanes = |b: &Option<Buffer<f32>>| b.as_ref().map_or(0, |b| 4 * b.len());
        self.weights.len() + lanes(&self.scales) + lanes(&self.offsets)
    }
}

fn pack(format: Format, row_tiles: usize, units: usize, cols: usize, row_of: &RowOf<'_>) -> Packed {
    let groups = format.group().map_or(0, |group| units * format.tiles_a_unit() * TILE / group);
    let has_offsets =
        matches!(format, Format::Bytes { offsets: true, .. } | Format::Nibbles { offsets: true, .. });
    let tile_bytes = units * 32 * 16;
    let mut packed = Packed {
        weights: vec![0; row_tiles * tile_bytes],
        scales: vec![0.0; row_tiles * groups * TILE],
        offsets: vec![0.0; if has_offsets { row_tiles * groups * TILE } else { 0 }],
    };
    let scales = split(&mut packed.scales, row_tiles, groups * TILE);
    let offsets = split(&mut packed.offsets, row_tiles, groups * TILE);
    let parts = packed.weights.par_chunks_mut(tile_bytes).zip(scales).zip(offsets);
    parts.enumerate().for_each(|(tile, ((weights, scales), offsets))| {
        for row in 0..TILE {
            let Some((view, number)) = row_of(tile * TILE + row) else { continue };
            match format {
                Format::Bf16 => pack_dense(&view, number, row, cols, weights),
                _ => pack_row(format, &view, number, row, weights, scales, offsets),
            }
        }
    });
    packed
}

/// `parts` parts of `len` values; empty ones where there are no values.
fn split(values: &mut [f32], parts: usize, len: usize) -> Vec<&mut [f32]> {
    if values.is_empty() {
        (0..parts).map(|_| Default::default()).collect()
    } else {
        values.chunks_mut(len).collect()
    }
}

fn pack_dense(view: &MatrixView<'_>, number: usize, row: usize, cols: usize, weights: &mut [u8]) {
    let mut put = |k: usize, bits: u16| {
        let (lane, value) = place(row, k % TILE);
        let at = ((k / TILE * 32 + lane) * 8 + value) * 2;
        weights[at..at + 2].copy_from_slice(&bits.to_le_bytes());
    };
    if view.dtype == WeightType::BF16 {
        for (k, bits) in view.row(number).as_chunks::<2>().0.iter().enumerate() {
            put(k, u16::from_le_bytes(*bits));
        }
    } else {
        let mut values = vec![0.0; cols];
        view.row_f32(number, &mut values);
        for (k, value) in values.into_iter().enumerate() {
            put(k, bf16::from_f32(value).to_bits());
        }
    }
}

fn pack_row(
    format: Format,
    view: &MatrixView<'_>,
    number: usize,
    row: usize,
    weights: &mut [u8],
    scales: &mut [f32],
    offsets: &mut [f32],
) {
    let blocks = BlockFormat::of(view.dtype).expect("a format with scales is that of a block type");
    let (mut q, mut scale, mut offset) = ([0i8; 256], [0f32; 16], [0f32; 16]);
    let groups = blocks.groups();
    for (b, bytes) in view.row(number).chunks_exact(blocks.bytes).enumerate() {
        blocks.decode_block(bytes, &mut q[..blocks.block], &mut scale[..groups], &mut offset[..groups]);
        for (i, &q) in q[..blocks.block].iter().enumerate() {
            let k = b * blocks.block + i;
            let (tile, (lane, value)) = (k / TILE, place(row, k % TILE));
            match format {
                Format::Nibbles { zero, .. } => {
                    // The first of a pair lies in the low half of the word, a register's four bits after the other's.
                    let bit = value / 2 * 4 + value % 2 * 16;
                    let at = (tile / 4 * 32 + lane) * 16 + tile % 4 * 4 + bit / 8;
                    weights[at] |= ((i32::from(q) + zero as i32) as u8) << (bit % 8);
                }
                _ => {
                    let at = (tile / 2 * 32 + lane) * 16 + tile % 2 * 8 + value;
                    weights[at] = (i32::from(q) + 128) as u8;
                }
            }
        }
        for g in 0..groups {
            let at = (b * groups + g) * TILE + row % 8 * 2 + row / 8;
            scales[at] = scale[g];
            if let Some(o) = offsets.get_mut(at) {
                *o = offset[g];
            }
        }
    }
}
