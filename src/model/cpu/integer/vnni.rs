//! The integer kernel for machines with dot products of bytes in 512-bit vectors.

use std::arch::x86_64::*;
use std::sync::atomic::{Ordering, compiler_fence};

use super::{PanelRef, Tile};
use crate::model::cpu::activations::{BLOCK, RowBlock};
use crate::model::cpu::packed::{HALF, PANEL};

/// Lines between a prefetch and its use: 4 KiB ahead.
const PREFETCH: usize = 64;

/// Rows at once: 4 rows × 2 halves × 2 planes of accumulators fill 16 of 32 registers, and some are needed to close a group.
const ROWS: usize = 4;

/// # Safety
/// AVX-512 F, BW, VL, DQ and VNNI; panel and rows have the same number of inputs.
pub(super) unsafe fn kernel(panel: PanelRef<'_>, x: &RowBlock, tile: &mut Tile) {
    macro_rules! run {
        ($pass:expr, $rows:literal, [$(($group:literal, $offset:literal))*]) => {
            match (panel.group, panel.offset.is_some()) {
                $(($group, $offset) => rows::<$rows, $group, $offset>(panel, x, $pass, tile),)*
                _ => unreachable!("groups are of 16 or 32"),
            }
        };
    }
    let count = x.rows.div_ceil(ROWS);
    for index in 0..count {
        let pass = Pass { index, count };
        // SAFETY: the caller's promise.
        unsafe {
            match x.rows - pass.first() {
                1 => run!(pass, 1, [(16, false)(16, true)(32, false)(32, true)]),
                2 => run!(pass, 2, [(16, false)(16, true)(32, false)(32, true)]),
                3 => run!(pass, 3, [(16, false)(16, true)(32, false)(32, true)]),
                _ => run!(pass, 4, [(16, false)(16, true)(32, false)(32, true)]),
            }
        }
    }
}

/// One of several passes over a panel, each with up to [`ROWS`] rows.
#[derive(Clone, Copy)]
struct Pass {
    index: usize,
    count: usize,
}

impl Pass {
    fn first(self) -> usize {
        self.index * ROWS
    }
}

// Indices run over several arrays at once, of sizes known here: the compiler keeps them in registers.
#[allow(clippy::needless_range_loop)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn rows<const R: usize, const GROUP: usize, const OFFSET: bool>(
    panel: PanelRef<'_>,
    x: &RowBlock,
    pass: Pass,
    tile: &mut Tile,
) {
    let first = pass.first();
    // A single pass waits for memory; of several, each asks for a part of the next panel, so that memory and the
    // dot-product units work at the same time.
    let share = if pass.count == 1 { 0 } else { (GROUP / 2).div_ceil(pass.count) };
    let next_part = panel.q.as_ptr().wrapping_add(panel.q.len() + pass.index * panel.q.len() / pass.count);
    let terms = x.terms(GROUP);
    let (planes, scale) = (x.planes.as_ptr(), x.scale.as_ptr());
    let (bias, sum) = (terms.bias.as_ptr(), terms.sum.as_ptr());
    let offset = panel.offset.map_or(std::ptr::null(), <[_]>::as_ptr);
    let zero = _mm512_setzero_ps();
    for row in &mut tile.0[first..first + R] {
        *row = [0.0; PANEL];
    }
    let out = tile.0[first..].as_mut_ptr().cast::<f32>();
    // SAFETY: `x` holds 2 × rows × k bytes and the terms of each group and row, `panel` its k / 4 × 2 lines and
    // two lanes a group (see their types); a prefetch past the end reads nothing.
    unsafe {
        for g in 0..panel.scale.len() / 2 {
            for line in 0..share {
                _mm_prefetch::<_MM_HINT_T1>(next_part.wrapping_add(g * share + line).cast());
            }
            let (block, within) = (g * GROUP / BLOCK, g * GROUP % BLOCK);
            let high_plane = planes.add((2 * block * x.rows + first) * BLOCK + within);
            let low_plane = high_plane.add(x.rows * BLOCK);
            let mut high = [[_mm512_setzero_si512(); 2]; R];
            let mut low = [[_mm512_setzero_si512(); 2]; R];
            for r in 0..R {
                low[r] = [_mm512_set1_epi32(*bias.add(g * x.rows + first + r)); 2];
            }
            let lines = panel.q.as_ptr().add(g * GROUP / 2);
            for j in 0..GROUP / 4 {
                let line = lines.add(2 * j);
                _mm_prefetch::<_MM_HINT_T0>(line.wrapping_add(PREFETCH).cast());
                _mm_prefetch::<_MM_HINT_T0>(line.wrapping_add(PREFETCH + 1).cast());
                let w = [_mm512_load_si512(line.cast()), _mm512_load_si512(line.add(1).cast())];
                for r in 0..R {
                    let four = |plane: *const i8| {
                        _mm512_set1_epi32(plane.add(r * BLOCK + 4 * j).cast::<i32>().read_unaligned())
                    };
                    let (h, l) = (four(high_plane), four(low_plane));
                    for half in 0..2 {
                        high[r][half] = _mm512_dpbusd_epi32(high[r][half], w[half], h);
                        low[r][half] = _mm512_dpbusd_epi32(low[r][half], w[half], l);
                    }
                }
            }
            // Keeps the compiler from loading early what closes the group: it has no registers left, and once it
            // starts to spill, the kernel takes twice the time.
            compiler_fence(Ordering::SeqCst);
            for half in 0..2 {
                let s = _mm512_load_ps(panel.scale.as_ptr().add(2 * g + half).cast());
                let o = if OFFSET { _mm512_load_ps(offset.add(2 * g + half).cast()) } else { zero };
                for r in 0..R {
                    let integer = _mm512_add_epi32(_mm512_slli_epi32::<8>(high[r][half]), low[r][half]);
                    let step = _mm512_set1_ps(*scale.add(block * x.rows + first + r));
                    let out = out.add(r * PANEL + half * HALF);
                    let mut acc = _mm512_load_ps(out);
                    acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(integer), _mm512_mul_ps(s, step), acc);
                    if OFFSET {
                        let sum = _mm512_set1_ps(*sum.add(g * x.rows + first + r));
                        acc = _mm512_fmadd_ps(o, sum, acc);
                    }
                    _mm512_store_ps(out, acc);
                }
            }
        }
    }
}
