//! Weights as the kernels want them: panels of 32 output channels.
//!
//! Dense weights lie channel-fastest: for every input index `k` the 32 weights of the panel's channels stand side
//! by side, so a kernel reads memory front to back and needs no horizontal sum. Quantised formats keep their
//! integers and their scales; nothing is rounded by packing. Their integers stand in fours along `k`, which is
//! what the integer dot-product instructions eat: four weights of each of 16 channels are one 64-byte line.

use candle_core::quantized::GgmlDType;
use half::{bf16, f16};
use rayon::prelude::*;

use crate::model::quant::BlockFormat;

/// Output channels a panel.
pub const PANEL: usize = 32;

/// A matrix as it lies in a file: `rows` output channels of `cols` weights each, row-major.
#[derive(Debug, Clone, Copy)]
pub struct MatrixView<'a> {
    /// Element or block type.
    pub dtype: GgmlDType,
    /// Output channels.
    pub rows: usize,
    /// Input channels.
    pub cols: usize,
    /// The bytes: `rows` rows of equal length.
    pub bytes: &'a [u8],
}

impl<'a> MatrixView<'a> {
    /// The bytes of one row.
    pub fn row(&self, row: usize) -> &'a [u8] {
        let len = self.bytes.len() / self.rows;
        &self.bytes[row * len..][..len]
    }

    /// One row in f32.
    pub fn row_f32(&self, row: usize, out: &mut [f32]) {
        let bytes = self.row(row);
        match self.dtype {
            GgmlDType::F32 => fill(out, bytes, f32::from_le_bytes),
            GgmlDType::F16 => fill(out, bytes, |b: [u8; 2]| f16::from_le_bytes(b).to_f32()),
            GgmlDType::BF16 => fill(out, bytes, |b: [u8; 2]| bf16::from_le_bytes(b).to_f32()),
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

/// Added to every quantised weight, which makes it an unsigned byte.
pub(super) const ZERO: i32 = 128;

/// Weights `scale · (q − 128) + offset`.
#[derive(Debug)]
pub(super) struct Quantised {
    /// `[panel][k / 4][half]`.
    pub q: Vec<Line>,
    /// `[panel][group][half]`.
    pub scale: Vec<Lanes>,
    /// As `scale`; `None` where the format has none.
    pub offset: Option<Vec<Lanes>>,
    /// Consecutive `k` that share a scale: 16 or 32.
    pub group: usize,
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
    /// Packs a matrix; `None` when its type is not supported.
    pub fn pack(view: &MatrixView<'_>) -> Option<Self> {
        let (rows, cols) = (view.rows, view.cols);
        let panels = match view.dtype {
            GgmlDType::F32 => Panels::F32(pack_dense(view, f32::from_le_bytes)),
            GgmlDType::F16 => Panels::F16(pack_dense(view, u16::from_le_bytes)),
            GgmlDType::BF16 => Panels::Bf16(pack_dense(view, u16::from_le_bytes)),
            other => pack_blocks(view, BlockFormat::of(other)?),
        };
        Some(Self { rows, cols, panels })
    }

    /// Bytes that one pass over the weights reads.
    pub fn bytes(&self) -> usize {
        match &self.panels {
            Panels::Quantised(Quantised { q, scale, offset, .. }) => {
                64 * (q.len() + scale.len() + offset.as_ref().map_or(0, Vec::len))
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
    let mut q = vec![Line([ZERO as u8; 64]); panels * cols / 2];
    let mut scale = vec![Lanes([0.0; HALF]); panels * groups * 2];
    let mut offset = vec![Lanes([0.0; HALF]); panels * groups * 2];
    let parts = q
        .par_chunks_mut(cols / 2)
        .zip(scale.par_chunks_mut(groups * 2).zip(offset.par_chunks_mut(groups * 2)));
    parts.enumerate().for_each(|(panel, (q, (scale, offset)))| {
        let mut block_q = vec![0i8; format.block];
        let (mut block_scale, mut block_offset) = (vec![0f32; format.groups()], vec![0f32; format.groups()]);
        for channel in 0..PANEL.min(view.rows - panel * PANEL) {
            let (half, lane) = (channel / HALF, channel % HALF);
            for (b, bytes) in view.row(panel * PANEL + channel).chunks_exact(format.bytes).enumerate() {
                format.decode_block(bytes, &mut block_q, &mut block_scale, &mut block_offset);
                for (i, four) in block_q.as_chunks::<4>().0.iter().enumerate() {
                    let line = &mut q[(b * format.block / 4 + i) * 2 + half].0;
                    line[4 * lane..][..4]
                        .copy_from_slice(&four.map(|w| w.wrapping_add(ZERO as u8 as i8) as u8));
                }
                for (i, (&s, &o)) in block_scale.iter().zip(&block_offset).enumerate() {
                    let at = (b * format.groups() + i) * 2 + half;
                    scale[at].0[lane] = s;
                    offset[at].0[lane] = o;
                }
            }
        }
    });
    Panels::Quantised(Quantised { q, scale, offset: format.has_offset.then_some(offset), group })
}
