//! Products with f32, f16 and bf16 weights, in f32.
//!
//! Each output is one chain of fused multiply-adds over k = 0, 1, 2 …, whatever the batch and the instruction
//! set. A kernel call handles up to [`MAX_ROWS`] rows against one panel, so a weight that was widened is
//! used once a row; with many rows a panel is widened once and kept in the cache.

use super::Isa;
use super::matmul::equal_blocks;
use super::packed::{PANEL, Panels};
use crate::team;

/// Most rows in one kernel call: 12 rows × 2 vectors of accumulators leave registers for the weights.
const MAX_ROWS: usize = 12;

/// From this number of row blocks on, a panel is widened once for all of them.
const WIDEN_FROM_BLOCKS: usize = 3;

/// Activations in kernel order. The vectors are kept from call to call.
#[derive(Debug, Default)]
pub(super) struct Rows {
    blocks: Vec<RowBlock>,
}

/// A few rows, `[k][row]`.
#[derive(Debug, Default)]
struct RowBlock {
    first: usize,
    rows: usize,
    x: Vec<f32>,
}

impl Rows {
    /// Splits `rows` rows of `cols` inputs into blocks of equal size.
    pub fn pack(&mut self, x: &[f32], rows: usize, cols: usize) {
        let blocks = equal_blocks(rows, MAX_ROWS);
        let count = blocks.len();
        self.blocks.resize_with(count, RowBlock::default);
        for (block, (first, rows)) in self.blocks.iter_mut().zip(blocks) {
            (block.first, block.rows) = (first, rows);
        }
        let pack = |block: &mut RowBlock| {
            block.x.resize(block.rows * cols, 0.0);
            for r in 0..block.rows {
                for (k, &v) in x[(block.first + r) * cols..][..cols].iter().enumerate() {
                    block.x[k * block.rows + r] = v;
                }
            }
        };
        if count > 2 {
            team::each(self.blocks.iter_mut(), pack);
        } else {
            self.blocks.iter_mut().for_each(pack);
        }
    }
}

/// One panel's weights, `[k][32]`.
#[derive(Clone, Copy)]
enum PanelRef<'a> {
    F32(&'a [f32]),
    F16(&'a [u16]),
    Bf16(&'a [u16]),
}

impl<'a> PanelRef<'a> {
    fn of(panels: &'a Panels, panel: usize, cols: usize) -> Self {
        let size = PANEL * cols;
        match panels {
            Panels::F32(w) => Self::F32(&w[panel * size..][..size]),
            Panels::F16(w) => Self::F16(&w[panel * size..][..size]),
            Panels::Bf16(w) => Self::Bf16(&w[panel * size..][..size]),
            Panels::Quantised(_) => unreachable!("quantised weights have kernels of their own"),
        }
    }
}

/// Multiplies every row with one panel; `put` takes the number of a row and its 32 results.
pub(super) fn multiply(
    panels: &Panels,
    panel: usize,
    cols: usize,
    rows: &Rows,
    widened: &mut Vec<f32>,
    mut put: impl FnMut(usize, &[f32; PANEL]),
) {
    let mut tile = [[0f32; PANEL]; MAX_ROWS];
    let mut weights = PanelRef::of(panels, panel, cols);
    if rows.blocks.len() >= WIDEN_FROM_BLOCKS && !matches!(weights, PanelRef::F32(_)) {
        widened.resize(PANEL * cols, 0.0);
        widen(weights, widened);
        weights = PanelRef::F32(widened);
    }
    for block in &rows.blocks {
        kernel(weights, &block.x, block.rows, &mut tile[..block.rows]);
        for (r, lanes) in tile[..block.rows].iter().enumerate() {
            put(block.first + r, lanes);
        }
    }
}

/// Turns one panel into f32; exact.
fn widen(panel: PanelRef<'_>, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if Isa::detect() >= Isa::Avx512 {
        // SAFETY: the instruction set was detected; `out` has the panel's size.
        unsafe { avx512::widen(panel, out) };
        return;
    }
    portable::widen(panel, out);
}

/// Multiplies `rows` rows (`[k][row]`) with one panel.
fn kernel(panel: PanelRef<'_>, x: &[f32], rows: usize, tile: &mut [[f32; PANEL]]) {
    #[cfg(target_arch = "x86_64")]
    if Isa::detect() >= Isa::Avx512 {
        // SAFETY: the instruction set was detected; `Rows::pack` and `PanelRef::of` made the sizes fit.
        unsafe { avx512::kernel(panel, x, rows, tile) };
        return;
    }
    portable::kernel(panel, x, rows, tile);
}

mod portable {
    use super::{MAX_ROWS, PANEL, PanelRef};
    use crate::model::cpu::simd::multiversion;
    use half::{bf16, f16};

    #[inline(always)]
    fn weights_at(panel: &PanelRef<'_>, k: usize, out: &mut [f32; PANEL]) {
        match panel {
            PanelRef::F32(w) => out.copy_from_slice(&w[k * PANEL..][..PANEL]),
            PanelRef::F16(w) => {
                for (out, &w) in out.iter_mut().zip(&w[k * PANEL..][..PANEL]) {
                    *out = f16::from_bits(w).to_f32();
                }
            }
            PanelRef::Bf16(w) => {
                for (out, &w) in out.iter_mut().zip(&w[k * PANEL..][..PANEL]) {
                    *out = bf16::from_bits(w).to_f32();
                }
            }
        }
    }

    multiversion! {
        pub(super) fn widen(panel: PanelRef<'_>, out: &mut [f32]) {
            for (k, out) in out.as_chunks_mut::<PANEL>().0.iter_mut().enumerate() {
                weights_at(&panel, k, out);
            }
        }
    }

    multiversion! {
        pub(super) fn kernel(panel: PanelRef<'_>, x: &[f32], rows: usize, tile: &mut [[f32; PANEL]]) {
            let mut acc = [[0f32; PANEL]; MAX_ROWS];
            let mut w = [0f32; PANEL];
            for (k, x) in x.chunks_exact(rows).enumerate() {
                weights_at(&panel, k, &mut w);
                for (acc, &x) in acc.iter_mut().zip(x) {
                    for i in 0..PANEL {
                        acc[i] = w[i].mul_add(x, acc[i]);
                    }
                }
            }
            tile.copy_from_slice(&acc[..rows]);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::{PANEL, PanelRef};
    use std::arch::x86_64::*;

    const F32: u8 = 0;
    const F16: u8 = 1;
    const BF16: u8 = 2;

    /// Bytes between a prefetch and its use.
    const PREFETCH: usize = 2048;

    impl PanelRef<'_> {
        /// Where the weights are, and of what kind; the number of entries.
        fn raw(&self) -> (*const u8, u8, usize) {
            match self {
                PanelRef::F32(w) => (w.as_ptr().cast(), F32, w.len() / PANEL),
                PanelRef::F16(w) => (w.as_ptr().cast(), F16, w.len() / PANEL),
                PanelRef::Bf16(w) => (w.as_ptr().cast(), BF16, w.len() / PANEL),
            }
        }
    }

    /// The 32 weights at `k` in f32.
    ///
    /// # Safety
    /// AVX-512 F and BW; `w` points to a panel of this kind with more than `k` entries.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    unsafe fn load<const KIND: u8>(w: *const u8, k: usize) -> [__m512; 2] {
        // SAFETY: the caller's promise; all loads are unaligned, and a prefetch past the end reads nothing.
        unsafe {
            if KIND == F32 {
                let w = w.cast::<f32>().add(k * PANEL);
                return [_mm512_loadu_ps(w), _mm512_loadu_ps(w.add(16))];
            }
            let w = w.cast::<u16>().add(k * PANEL);
            _mm_prefetch::<_MM_HINT_T0>(w.cast::<i8>().wrapping_add(PREFETCH));
            let (low, high) = (_mm256_loadu_si256(w.cast()), _mm256_loadu_si256(w.add(16).cast()));
            if KIND == F16 {
                return [_mm512_cvtph_ps(low), _mm512_cvtph_ps(high)];
            }
            let widen = |v| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(v)));
            [widen(low), widen(high)]
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    unsafe fn tile<const KIND: u8, const ROWS: usize>(
        w: *const u8,
        cols: usize,
        x: *const f32,
        out: *mut f32,
    ) {
        // SAFETY: the caller passes a panel of `cols` entries, `cols × ROWS` activations and room for ROWS × 32.
        unsafe {
            let mut acc = [[_mm512_setzero_ps(); 2]; ROWS];
            for k in 0..cols {
                let w = load::<KIND>(w, k);
                for (r, acc) in acc.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(*x.add(k * ROWS + r));
                    acc[0] = _mm512_fmadd_ps(w[0], x, acc[0]);
                    acc[1] = _mm512_fmadd_ps(w[1], x, acc[1]);
                }
            }
            for (r, acc) in acc.iter().enumerate() {
                _mm512_storeu_ps(out.add(r * PANEL), acc[0]);
                _mm512_storeu_ps(out.add(r * PANEL + 16), acc[1]);
            }
        }
    }

    /// # Safety
    /// AVX-512; `x` holds `rows` activations for each entry of the panel, `out` has `rows` rows.
    pub(super) unsafe fn kernel(panel: PanelRef<'_>, x: &[f32], rows: usize, out: &mut [[f32; PANEL]]) {
        let (w, kind, cols) = panel.raw();
        let (x, out) = (x.as_ptr(), out.as_mut_ptr().cast::<f32>());
        macro_rules! run {
            ($kind:ident, [$($r:literal)*]) => {
                match rows { $($r => tile::<$kind, $r>(w, cols, x, out),)* _ => unreachable!("at most 12 rows") }
            };
        }
        // SAFETY: the caller's promise.
        unsafe {
            match kind {
                F32 => run!(F32, [1 2 3 4 5 6 7 8 9 10 11 12]),
                F16 => run!(F16, [1 2 3 4 5 6 7 8 9 10 11 12]),
                _ => run!(BF16, [1 2 3 4 5 6 7 8 9 10 11 12]),
            }
        }
    }

    /// # Safety
    /// AVX-512; `out` holds 32 values for each entry of the panel.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    pub(super) unsafe fn widen(panel: PanelRef<'_>, out: &mut [f32]) {
        let (w, kind, cols) = panel.raw();
        for k in 0..cols {
            // SAFETY: the caller's promise.
            unsafe {
                let w = match kind {
                    F32 => load::<F32>(w, k),
                    F16 => load::<F16>(w, k),
                    _ => load::<BF16>(w, k),
                };
                let out = out.as_mut_ptr().add(k * PANEL);
                _mm512_storeu_ps(out, w[0]);
                _mm512_storeu_ps(out.add(16), w[1]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    #[test]
    fn portable_and_detected_kernels_give_the_same_bits() {
        let (cols, rows) = (96, 5);
        let value = |i: usize| (i * 131 % 89) as f32 / 44.5 - 1.0;
        let w: Vec<f32> = (0..PANEL * cols).map(value).collect();
        let halves: Vec<u16> = w.iter().map(|&w| f16::from_f32(w).to_bits()).collect();
        let brains: Vec<u16> = w.iter().map(|&w| bf16::from_f32(w).to_bits()).collect();
        let x: Vec<f32> = (0..rows * cols).map(|i| value(7 * i + 3)).collect();
        for panel in [PanelRef::F32(&w), PanelRef::F16(&halves), PanelRef::Bf16(&brains)] {
            let mut tiles = [[[0f32; PANEL]; 5]; 2];
            kernel(panel, &x, rows, &mut tiles[0]);
            portable::kernel(panel, &x, rows, &mut tiles[1]);
            assert_eq!(tiles[0], tiles[1]);
            let mut wide = [vec![0.0; PANEL * cols], vec![0.0; PANEL * cols]];
            widen(panel, &mut wide[0]);
            portable::widen(panel, &mut wide[1]);
            assert_eq!(wide[0], wide[1]);
        }
    }
}
