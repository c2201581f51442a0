//! Products with quantised weights, in integers.
//!
//! Within a group of 16 or 32 inputs, weights and activations are integers, and their sum of products is exact.
//! Each output is one chain of f32 operations over the groups 0, 1, 2 …: `acc ← Σ·(w_scale·x_scale) + acc`, and
//! `acc ← offset·sum + acc` where the format has offsets, both fused. So all kernels here give the same bits,
//! whatever the batch, the blocking and the instruction set.
//!
//! One row is bound by memory (the weights are read once), many rows by the dot-product units and by the five or
//! six vector operations that close each group. With tile registers the products cost next to nothing and the closing
//! remains.

use super::Isa;
use super::activations::{Activations, MAX_ROWS, RowBlock};
use super::packed::{Integers, Lanes, Line, PANEL, Quantised, ZERO};

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
mod portable;
mod unpack;
#[cfg(target_arch = "x86_64")]
mod vnni;

/// One panel of quantised weights.
#[derive(Clone, Copy)]
struct PanelRef<'a> {
    integers: PanelIntegers<'a>,
    scale: &'a [Lanes],
    offset: Option<&'a [Lanes]>,
    group: usize,
    /// What comes next in memory and will be asked for next.
    next: (*const Line, usize),
}

/// See [`Integers`].
#[derive(Clone, Copy)]
enum PanelIntegers<'a> {
    Bytes(&'a [Line]),
    Nibbles { low: &'a [Line], fifth: Option<&'a [[u64; 2]]>, zero: i32 },
}

/// Bits of a panel's integers as they lie in memory.
const BYTES: u8 = 8;
const NIBBLES: u8 = 4;
const FIVE: u8 = 5;

impl PanelIntegers<'_> {
    /// [`BYTES`], [`NIBBLES`] or [`FIVE`].
    fn bits(&self) -> u8 {
        match self {
            PanelIntegers::Bytes(_) => BYTES,
            PanelIntegers::Nibbles { fifth: None, .. } => NIBBLES,
            PanelIntegers::Nibbles { fifth: Some(_), .. } => FIVE,
        }
    }

    /// Where the integers begin, where their fifth bits (null if there are none), and the integers' zero.
    fn parts(&self) -> (*const Line, *const [u64; 2], i32) {
        match self {
            PanelIntegers::Bytes(lines) => (lines.as_ptr(), std::ptr::null(), ZERO),
            PanelIntegers::Nibbles { low, fifth, zero } => {
                (low.as_ptr(), fifth.map_or(std::ptr::null(), <[_]>::as_ptr), *zero)
            }
        }
    }
}

/// Results of a block of rows with one panel, `[row][channel]`.
#[repr(align(64))]
struct Tile([[f32; PANEL]; MAX_ROWS]);

/// Lines between a prefetch and its use: 4 KiB ahead.
const PREFETCH: usize = 64;

/// What a thread needs while it multiplies panels.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    unpacked: Vec<Line>,
    #[cfg(target_arch = "x86_64")]
    tiles: amx::Registers,
}

/// Multiplies every row with panel number `panel`; `put` takes the number of a row and its 32 results.
pub(super) fn multiply(
    isa: Isa,
    weights: &Quantised,
    panel: usize,
    cols: usize,
    x: &Activations,
    workspace: &mut Workspace,
    mut put: impl FnMut(usize, &[f32; PANEL]),
) {
    let groups = cols / weights.group * 2;
    let integers = match &weights.integers {
        Integers::Bytes(lines) => PanelIntegers::Bytes(&lines[panel * cols / 2..][..cols / 2]),
        Integers::Nibbles { low, fifth, zero } => PanelIntegers::Nibbles {
            low: &low[panel * cols / 4..][..cols / 4],
            fifth: fifth.as_ref().map(|fifth| &fifth[panel * cols / 4..][..cols / 4]),
            zero: *zero,
        },
    };
    let mut panel = PanelRef {
        integers,
        scale: &weights.scale[panel * groups..][..groups],
        offset: weights.offset.as_ref().map(|o| &o[panel * groups..][..groups]),
        group: weights.group,
        next: match integers {
            PanelIntegers::Bytes(lines) | PanelIntegers::Nibbles { low: lines, .. } => {
                (lines.as_ptr_range().end, lines.len())
            }
        },
    };
    let blocks = x.blocks();
    let is_few = blocks.len() == 1 && blocks[0].rows <= FEW_ROWS;
    let mut tile = Tile([[0.0; PANEL]; MAX_ROWS]);
    let mut put_block = |block: &RowBlock, tile: &Tile| {
        for (r, lanes) in tile.0[..block.rows].iter().enumerate() {
            put(block.first + r, lanes);
        }
    };
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Amx && !is_few {
        let unpacked = &mut workspace.unpacked;
        unpacked.resize(amx::lines_needed(cols, blocks.len()), Line([0; 64]));
        let mut room = &mut unpacked[..];
        for block in blocks {
            // SAFETY: the instruction set was detected; panel and rows belong to one product, so they fit.
            unsafe { amx::kernel(panel, block, room, &mut workspace.tiles, &mut tile) };
            put_block(block, &tile);
            // The rows that follow take what the first ones unpacked.
            let unpacked = std::mem::take(&mut room);
            if let PanelIntegers::Nibbles { .. } = panel.integers {
                panel.integers = PanelIntegers::Bytes(unpacked);
            }
        }
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if takes_words(isa) {
        let words = &mut workspace.unpacked;
        words.resize(avx2::lines_needed(cols), Line([0; 64]));
        // SAFETY: the instruction set was detected.
        unsafe { avx2::widen(integers, words) };
        for block in blocks {
            // SAFETY: as above; panel and rows belong to one product, so they fit.
            unsafe { avx2::kernel(panel, words, block, &mut tile.0) };
            put_block(block, &tile);
        }
        return;
    }
    // A few rows take nibbles as they are, more share the work of unpacking them (the tile kernel unpacks on its way).
    if let PanelIntegers::Nibbles { low, fifth, zero } = integers
        && !(takes_nibbles(isa) && is_few)
    {
        let unpacked = &mut workspace.unpacked;
        unpacked.resize(cols / 2, Line([0; 64]));
        unpack::unpack(isa, low, fifth, zero, unpacked);
        panel.integers = PanelIntegers::Bytes(unpacked);
    }
    let next = std::mem::replace(&mut panel.next.1, 0);
    for (index, block) in blocks.iter().enumerate() {
        if index + 1 == blocks.len() {
            panel.next.1 = next;
        }
        kernel(isa, panel, block, &mut tile);
        put_block(block, &tile);
    }
}

/// Rows that are multiplied with nibbles directly, at most: those of one pass.
const FEW_ROWS: usize = 4;

/// Whether the kernel of an instruction set multiplies 16-bit integers; the others multiply bytes.
pub(super) fn takes_words(isa: Isa) -> bool {
    matches!(isa, Isa::Avx2 | Isa::Avx512)
}

/// Whether the kernel of an instruction set multiplies nibbles, too.
fn takes_nibbles(isa: Isa) -> bool {
    isa >= Isa::Vnni
}

/// Whether the processor has tile registers that multiply bytes and the system grants them to this process.
#[cfg(target_arch = "x86_64")]
pub(super) fn has_tiles() -> bool {
    const TILE: u32 = 1 << 24;
    const INT8: u32 = 1 << 25;
    let features = std::arch::x86_64::__cpuid_count(7, 0).edx;
    features & (TILE | INT8) == TILE | INT8 && amx::ask_system()
}

fn kernel(isa: Isa, panel: PanelRef<'_>, x: &RowBlock, tile: &mut Tile) {
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Vnni {
        // SAFETY: the instruction set was detected; panel and rows belong to one product, so they fit.
        unsafe { vnni::kernel(panel, x, tile) };
        return;
    }
    let _ = isa;
    portable::kernel(panel, x, &mut tile.0);
}

impl<'a> PanelRef<'a> {
    /// The integers of a panel that is unpacked.
    fn bytes(&self) -> &'a [Line] {
        match self.integers {
            PanelIntegers::Bytes(lines) => lines,
            PanelIntegers::Nibbles { .. } => unreachable!("only kernels that take nibbles are given any"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cpu::packed::{MatrixView, PackedMatrix, Panels};
    use crate::model::quant::WeightType;
    use candle_core::quantized::QTensor;
    use candle_core::{Device, Tensor};

    /// Every kernel that this machine can run, for all numbers of rows in a block and all kinds of groups.
    #[test]
    fn all_kernels_give_the_same_bits() {
        let (n, k) = (PANEL, 768);
        let value = |i: usize| ((i * 7919 % 1009) as f32 / 504.5 - 1.0).powi(3);
        let tensor = Tensor::from_vec((0..n * k).map(value).collect(), (n, k), &Device::Cpu).expect("tensor");
        for dtype in [
            WeightType::Q4_0,
            WeightType::Q4_1,
            WeightType::Q5_0,
            WeightType::Q8_0,
            WeightType::Q5K,
            WeightType::Q6K,
            WeightType::Q2K,
            WeightType::Q3K,
        ] {
            let quantized =
                QTensor::quantize(&tensor, dtype.candle().expect("one of candle's")).expect("quantize");
            let bytes = quantized.data().expect("data");
            let packed = PackedMatrix::pack(&MatrixView::new(dtype, n, k, &bytes));
            let Panels::Quantised(weights) = &packed.panels else { panic!("{dtype:?}") };
            for rows in 1..=MAX_ROWS {
                let x: Vec<f32> = (0..rows * k).map(|i| value(3 * i + rows)).collect();
                let run = |isa: Isa| {
                    let mut activations = Activations::default();
                    activations.quantise_for(isa, &x, rows, k);
                    let mut out = vec![[f32::NAN; PANEL]; rows];
                    multiply(isa, weights, 0, k, &activations, &mut Workspace::default(), |row, lanes| {
                        out[row] = *lanes
                    });
                    out
                };
                let reference = run(Isa::Portable);
                for isa in Isa::ALL.into_iter().filter(|&isa| isa <= Isa::detect()) {
                    assert_eq!(run(isa), reference, "{dtype:?}, {rows} rows, {}", isa.name());
                }
            }
        }
    }
}
