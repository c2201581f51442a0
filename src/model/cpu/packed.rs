//! Weights as the kernels want them: panels of 32 output channels, channel-fastest.
//!
//! For every input index `k` a panel holds the 32 weights of its channels side by side, so a kernel reads
//! memory front to back, turns 32 weights into f32 with two vector operations, and needs no horizontal sum.
//! Quantised formats keep their integers (as `i8`) and their scales; nothing is rounded by packing.

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

/// Element types of packed panels. Every vector is `[panel][k][32]`, scales and offsets `[panel][group][32]`.
#[derive(Debug)]
pub(super) enum Panels {
    Int8 { q: Vec<i8>, scale: Vec<f32>, offset: Option<Vec<f32>>, group: usize },
    F32(Vec<f32>),
    F16(Vec<u16>),
    Bf16(Vec<u16>),
}

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
            Panels::Int8 { q, scale, offset, .. } => {
                q.len() + 4 * (scale.len() + offset.as_ref().map_or(0, Vec::len))
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
    let mut q = vec![0i8; panels * PANEL * cols];
    let mut scale = vec![0f32; panels * PANEL * groups];
    let mut offset = vec![0f32; panels * PANEL * groups];
    let parts = q
        .par_chunks_mut(PANEL * cols)
        .zip(scale.par_chunks_mut(PANEL * groups).zip(offset.par_chunks_mut(PANEL * groups)));
    parts.enumerate().for_each(|(panel, (q, (scale, offset)))| {
        let mut block_q = vec![0i8; format.block];
        let (mut block_scale, mut block_offset) = (vec![0f32; format.groups()], vec![0f32; format.groups()]);
        for lane in 0..PANEL.min(view.rows - panel * PANEL) {
            for (b, bytes) in view.row(panel * PANEL + lane).chunks_exact(format.bytes).enumerate() {
                format.decode_block(bytes, &mut block_q, &mut block_scale, &mut block_offset);
                for (i, &w) in block_q.iter().enumerate() {
                    q[(b * format.block + i) * PANEL + lane] = w;
                }
                for (i, (&s, &o)) in block_scale.iter().zip(&block_offset).enumerate() {
                    scale[(b * format.groups() + i) * PANEL + lane] = s;
                    offset[(b * format.groups() + i) * PANEL + lane] = o;
                }
            }
        }
    });
    Panels::Int8 { q, scale, offset: format.has_offset.then_some(offset), group }
}
