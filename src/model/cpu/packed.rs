//! Weights as the kernels want them: panels of 32 output channels.
//!
//! Dense weights lie channel-fastest: for every input index `k` the 32 weights of the panel's channels stand side
//! by side, so a kernel reads memory front to back and needs no horizontal sum. Quantised formats keep their
//! integers and their scales; nothing is rounded by packing. Their integers stand in fours along `k`, which is
//! what the integer dot-product instructions eat: four weights of each of 16 channels are one 64-byte line.

use half::{bf16, f16};
use rayon::prelude::*;

use crate::model::quant::{BlockFormat, WeightType, f8_e4m3, to_bf16};

/// Output channels a panel.
pub const PANEL: usize = 32;

/// Some rows of a matrix: `each` in a row, from `first` on, the next ones `stride` further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    first: usize,
    each: usize,
    stride: usize,
}

impl Rows {
    /// Those from one on.
    pub fn from(first: usize) -> Self {
        Self { first, each: usize::MAX, stride: 0 }
    }

    /// The row of the matrix that is number `i`.
    pub fn row(self, i: usize) -> usize {
        self.first + i / self.each * self.stride + i % self.each
    }

    /// The first row, if `count` of these stand one after the other.
    pub fn contiguous(self, count: usize) -> Option<usize> {
        (count <= self.each).then_some(self.first)
    }

    /// `each` from `first` on, and as many every `stride` rows further.
    pub fn strided(first: usize, each: usize, stride: usize) -> Self {
        Self { first, each, stride }
    }

    /// How many rows a matrix needs for the first `count` of these; `None` if it would be absurdly many.
    pub fn needed(self, count: usize) -> Option<usize> {
        let last = count.checked_sub(1)?;
        (last / self.each)
            .checked_mul(self.stride)?
            .checked_add(last % self.each)?
            .checked_add(self.first + 1)
    }
}

/// A matrix as it lies in a file: `rows` output channels of `cols` weights each, row-major.
#[derive(Debug, Clone, Copy)]
pub struct MatrixView<'a> {
    /// Element or block type.
    pub dtype: WeightType,
    /// Output channels.
    pub rows: usize,
    /// Input channels.
    pub cols: usize,
    /// The bytes: rows of equal length.
    pub bytes: &'a [u8],
    /// Which of the rows in `bytes` are meant; `None`: they are `rows`, and all.
    pub some: Option<Rows>,
    /// What the values of blocks are multiplied with.
    pub scales: Option<Scales<'a>>,
}

/// A scale for each block of rows and columns of a matrix of 8-bit floats.
#[derive(Debug, Clone, Copy)]
pub struct Scales<'a> {
    /// One for each block, row-major.
    pub values: &'a [f32],
    /// Blocks beside each other.
    pub across: usize,
    /// Rows and columns of a block.
    pub block: [usize; 2],
    /// The row of the whole matrix that is the first here.
    pub first: usize,
}

impl<'a> MatrixView<'a> {
    /// A whole matrix.
    pub fn new(dtype: WeightType, rows: usize, cols: usize, bytes: &'a [u8]) -> Self {
        Self { dtype, rows, cols, bytes, some: None, scales: None }
    }

    /// Bytes of a row.
    fn row_len(&self) -> usize {
        self.cols / self.dtype.block_size() * self.dtype.type_size()
    }

    /// Some rows of a whole matrix, `count` of them.
    pub fn part(self, some: Rows, count: usize) -> Self {
        match some.contiguous(count) {
            Some(first) => {
                let len = self.row_len();
                let scales = self.scales.map(|scales| Scales { first: scales.first + first, ..scales });
                Self { rows: count, bytes: &self.bytes[first * len..][..count * len], scales, ..self }
            }
            None => Self { rows: count, some: Some(some), ..self },
        }
    }

    /// The bytes of one row.
    pub fn row(&self, row: usize) -> &'a [u8] {
        let (row, len) = (self.some.map_or(row, |some| some.row(row)), self.row_len());
        &self.bytes[row * len..][..len]
    }

    /// One row in f32.
    pub fn row_f32(&self, row: usize, out: &mut [f32]) {
        let bytes = self.row(row);
        match self.dtype {
            WeightType::F32 => fill(out, bytes, f32::from_le_bytes),
            WeightType::F16 => fill(out, bytes, |b: [u8; 2]| f16::from_le_bytes(b).to_f32()),
            WeightType::BF16 => fill(out, bytes, |b: [u8; 2]| bf16::from_le_bytes(b).to_f32()),
            WeightType::F8E4M3 => {
                fill(out, bytes, |[b]: [u8; 1]| f8_e4m3(b));
                if let Some(Scales { values, across, block, first }) = self.scales {
                    let row = first + self.some.map_or(row, |some| some.row(row));
                    let values = &values[row / block[0] * across..][..across];
                    for (out, scale) in out.chunks_mut(block[1]).zip(values) {
                        out.iter_mut().for_each(|v| *v *= scale);
                    }
                }
            }
            other => {
                if let Some(format) = BlockFormat::of(other) {
                    format.dequantize_row(bytes, out);
                }
            }
        }
    }
}

fn fill<const N: usize, T>(out: &mut [T], bytes: &[u8], read: impl Fn([u8; N]) -> T) {
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *out = read(*bytes);
    }
}

/// The packed weights of one linear layer.
#[derive(Debug)]
pub struct PackedMatrix {
    /// Output channels.
    pub rows: usize,
    /// Input channels.
    pub cols: usize,
    pub(super) panels: Panels,
}

/// Element types of packed panels; dense vectors are `[panel][k][32]`.
#[derive(Debug)]
pub(super) enum Panels {
    Quantised(Quantised),
    F32(Vec<f32>),
    F16(Vec<u16>),
    Bf16(Vec<u16>),
}

/// Added to every quantised weight, it makes it an unsigned byte.
pub(super) const ZERO: i32 = 128;

/// Weights `scale · (unsigned − zero) + offset`.
#[derive(Debug)]
pub(super) struct Quantised {
    pub integers: Integers,
    /// `[panel][group][half]`.
    pub scale: Vec<Lanes>,
    /// As `scale`; `None` where the format has none.
    pub offset: Option<Vec<Lanes>>,
    /// Consecutive `k` that share a scale: 16 or 32.
    pub group: usize,
}

/// The unsigned integers of a matrix.
#[derive(Debug)]
pub(super) enum Integers {
    /// `[panel][k / 4][half]`; their zero is [`ZERO`].
    Bytes(Vec<Line>),
    /// Four or five bits each, as in the file: a single row is bound by how many bytes there are to read.
    Nibbles {
        /// `[panel][k / 4]`: the low four bits; those of the first half of the panel are the lower ones of a byte.
        low: Vec<Line>,
        /// `[panel][k / 4][half]`: the fifth bits, in the order of the bytes.
        fifth: Option<Vec<[u64; 2]>>,
        /// What they are shifted by.
        zero: i32,
    },
}

/// Four consecutive weights of each of 16 channels: `[channel][k % 4]`. One vector register, one cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Line(pub [u8; 64]);

/// A value for each of 16 channels.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Lanes(pub [f32; HALF]);

/// Channels in half a panel: the lanes of a vector register.
pub(super) const HALF: usize = PANEL / 2;

impl PackedMatrix {
    /// Packs a matrix. 8-bit floats become bf16, as in the reference implementations.
    pub fn pack(view: &MatrixView<'_>) -> Self {
        let (rows, cols) = (view.rows, view.cols);
        let panels = match view.dtype {
            WeightType::F32 => Panels::F32(pack_dense(view, f32::from_le_bytes)),
            WeightType::F16 => Panels::F16(pack_dense(view, u16::from_le_bytes)),
            WeightType::BF16 => Panels::Bf16(pack_dense(view, u16::from_le_bytes)),
            WeightType::F8E4M3 => {
                let bytes = to_bf16(view);
                let view = MatrixView::new(WeightType::BF16, rows, cols, &bytes);
                Panels::Bf16(pack_dense(&view, u16::from_le_bytes))
            }
            blocks => {
                pack_blocks(view, BlockFormat::of(blocks).expect("all types but the dense ones have blocks"))
            }
        };
        Self { rows, cols, panels }
    }

    /// Bytes that one pass over the weights reads.
    pub fn bytes(&self) -> usize {
        match &self.panels {
            Panels::Quantised(Quantised { integers, scale, offset, .. }) => {
                let lanes = scale.len() + offset.as_ref().map_or(0, Vec::len);
                let integers = match integers {
                    Integers::Bytes(lines) => 64 * lines.len(),
                    Integers::Nibbles { low, fifth, .. } => {
                        64 * low.len() + 16 * fifth.as_ref().map_or(0, Vec::len)
                    }
                };
                integers + 64 * lanes
            }
            Panels::F32(w) => 4 * w.len(),
            Panels::F16(w) | Panels::Bf16(w) => 2 * w.len(),
        }
    }
}

fn pack_dense<const N: usize, T>(view: &MatrixView<'_>, read: impl Fn([u8; N]) -> T + Sync) -> Vec<T>
where
    T: Copy + Default + Send,
{
    let cols = view.cols;
    let mut packed = vec![T::default(); view.rows.div_ceil(PANEL) * PANEL * cols];
    packed.par_chunks_mut(PANEL * cols).enumerate().for_each(|(panel, packed)| {
        let mut row = vec![T::default(); cols];
        for lane in 0..PANEL.min(view.rows - panel * PANEL) {
            fill(&mut row, view.row(panel * PANEL + lane), &read);
            for (k, &w) in row.iter().enumerate() {
                packed[k * PANEL + lane] = w;
            }
        }
    });
    packed
}

fn pack_blocks(view: &MatrixView<'_>, format: BlockFormat) -> Panels {
    let (cols, group) = (view.cols, format.group);
    let (panels, groups) = (view.rows.div_ceil(PANEL), cols / group);
    // Channels that only fill up the last panel weigh nothing: their scales are zero.
    let mut scale = vec![Lanes([0.0; HALF]); panels * groups * 2];
    let mut offset = vec![Lanes([0.0; HALF]); panels * groups * 2];
    // Kernels for nibbles take groups of 32.
    let as_bytes = format.bits > 5 || format.group != 32;
    let lines_a_panel = if as_bytes { cols / 2 } else { cols / 4 };
    let mut lines = vec![Line([0; 64]); panels * lines_a_panel];
    let mut fifth = vec![[0u64; 2]; if format.bits == 5 && !as_bytes { panels * cols / 4 } else { 0 }];
    let fifths: Vec<&mut [[u64; 2]]> = if fifth.is_empty() {
        (0..panels).map(|_| Default::default()).collect()
    } else {
        fifth.chunks_mut(cols / 4).collect()
    };
    let parts = lines
        .par_chunks_mut(lines_a_panel)
        .zip(fifths)
        .zip(scale.par_chunks_mut(groups * 2).zip(offset.par_chunks_mut(groups * 2)));
    parts.enumerate().for_each(|(panel, ((lines, fifth), (scale, offset)))| {
        let mut q = vec![0i8; format.block];
        let (mut block_scale, mut block_offset) = (vec![0f32; format.groups()], vec![0f32; format.groups()]);
        for channel in 0..PANEL.min(view.rows - panel * PANEL) {
            let (half, lane) = (channel / HALF, channel % HALF);
            for (b, bytes) in view.row(panel * PANEL + channel).chunks_exact(format.bytes).enumerate() {
                format.decode_block(bytes, &mut q, &mut block_scale, &mut block_offset);
                for (i, &q) in q.iter().enumerate() {
                    let (four, at) = ((b * format.block + i) / 4, 4 * lane + i % 4);
                    if as_bytes {
                        lines[2 * four + half].0[at] = (i32::from(q) + ZERO) as u8;
                    } else {
                        let unsigned = (i32::from(q) + format.zero) as u8;
                        lines[four].0[at] |= (unsigned & 0xf) << (4 * half);
                        if let Some(fifth) = fifth.get_mut(four) {
                            fifth[half] |= u64::from(unsigned >> 4) << at;
                        }
                    }
                }
                for (i, (&s, &o)) in block_scale.iter().zip(&block_offset).enumerate() {
                    let at = (b * format.groups() + i) * 2 + half;
                    scale[at].0[lane] = s;
                    offset[at].0[lane] = o;
                }
            }
        }
    });
    let integers = if as_bytes {
        Integers::Bytes(lines)
    } else {
        let fifth = (format.bits == 5).then_some(fifth);
        Integers::Nibbles { low: lines, fifth, zero: format.zero }
    };
    Panels::Quantised(Quantised { integers, scale, offset: format.has_offset.then_some(offset), group })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_fused_tensors() {
        assert_eq!((Rows::from(3).needed(4), Rows::from(3).contiguous(4)), (Some(7), Some(3)));
        let strided = Rows::strided(2, 2, 6);
        assert_eq!([0, 1, 2, 3, 4].map(|i| strided.row(i)), [2, 3, 8, 9, 14]);
        assert_eq!((strided.needed(5), strided.contiguous(5)), (Some(15), None));
        assert_eq!(Rows::strided(1, 1, usize::MAX).needed(3), None);
    }
}
