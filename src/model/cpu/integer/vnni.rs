//! The integer kernel for machines with dot products of bytes in 512-bit vectors.

use std::arch::x86_64::*;
use std::sync::atomic::{Ordering, compiler_fence};

use super::{BYTES, FIVE, NIBBLES, PREFETCH, PanelRef, Tile};
use crate::model::cpu::activations::{BLOCK, RowBlock};
use crate::model::cpu::packed::{HALF, PANEL, ZERO};

/// Rows at once: 4 rows × 2 halves × 2 planes of accumulators fill 16 of 32 registers, and some are needed to close a group.
const ROWS: usize = 4;

/// # Safety
/// AVX-512 F, BW, VL, DQ and VNNI; panel and rows have the same number of inputs.
pub(super) unsafe fn kernel(panel: PanelRef<'_>, x: &RowBlock, tile: &mut Tile) {
    let count = x.rows.div_ceil(ROWS);
    for index in 0..count {
        let pass = Pass { index, count };
        macro_rules! run {
            ($rows:literal) => {
                match (panel.integers.bits(), panel.group, panel.offset.is_some()) {
                    (BYTES, 16, false) => rows::<$rows, 16, false, BYTES>(panel, x, pass, tile),
                    (BYTES, 16, true) => rows::<$rows, 16, true, BYTES>(panel, x, pass, tile),
                    (BYTES, 32, false) => rows::<$rows, 32, false, BYTES>(panel, x, pass, tile),
                    (BYTES, 32, true) => rows::<$rows, 32, true, BYTES>(panel, x, pass, tile),
                    (NIBBLES, 32, false) => rows::<$rows, 32, false, NIBBLES>(panel, x, pass, tile),
                    (NIBBLES, 32, true) => rows::<$rows, 32, true, NIBBLES>(panel, x, pass, tile),
                    (FIVE, 32, false) => rows::<$rows, 32, false, FIVE>(panel, x, pass, tile),
                    (FIVE, 32, true) => rows::<$rows, 32, true, FIVE>(panel, x, pass, tile),
                    _ => unreachable!("no format has such groups"),
                }
            };
        }
        // SAFETY: the caller's promise.
        unsafe {
            match x.rows - pass.first() {
                1 => run!(1),
                2 => run!(2),
                3 => run!(3),
                _ => run!(4),
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
unsafe fn rows<const R: usize, const GROUP: usize, const OFFSET: bool, const BITS: u8>(
    panel: PanelRef<'_>,
    x: &RowBlock,
    pass: Pass,
    tile: &mut Tile,
) {
    let first = pass.first();
    // A single pass waits for memory; of several, each asks for a part of the next panel, so that memory and the
    // dot-product units work at the same time.
    let groups = panel.scale.len() / 2;
    let (next, next_lines) = panel.next;
    let share = if pass.count == 1 { 0 } else { next_lines.div_ceil(groups * pass.count) };
    let next_part = next.wrapping_add(pass.index * groups * share);
    // Integers that are not bytes have a zero of their own.
    let (lines, fifths, zero) = panel.integers.parts();
    let (nibble, sixteen) = (_mm512_set1_epi8(0xf), _mm512_set1_epi8(16));
    let terms = x.terms(GROUP);
    let (planes, scale) = (x.planes.as_ptr(), x.scale.as_ptr());
    let (bias, sum) = (terms.bias.as_ptr(), terms.sum.as_ptr());
    let offset = panel.offset.map_or(std::ptr::null(), <[_]>::as_ptr);
    for row in &mut tile.0[first..first + R] {
        *row = [0.0; PANEL];
    }
    let out = tile.0[first..].as_mut_ptr().cast::<f32>();
    // SAFETY: `x` holds 2 × rows × k bytes and the terms of each group and row, `panel` its lines and two
    // lanes a group (see their types); a prefetch past the end reads nothing.
    unsafe {
        for g in 0..groups {
            for line in 0..share {
                _mm_prefetch::<_MM_HINT_T1>(next_part.wrapping_add(g * share + line).cast());
            }
            let (block, within) = (g * GROUP / BLOCK, g * GROUP % BLOCK);
            let high_plane = planes.add((2 * block * x.rows + first) * BLOCK + within);
            let low_plane = high_plane.add(x.rows * BLOCK);
            let mut high = [[_mm512_setzero_si512(); 2]; R];
            let mut low = [[_mm512_setzero_si512(); 2]; R];
            for r in 0..R {
                low[r] = [_mm512_set1_epi32((*bias.add(g * x.rows + first + r) / ZERO) * zero); 2];
            }
            for j in 0..GROUP / 4 {
                let at = g * GROUP / 4 + j;
                let w = if BITS == BYTES {
                    let line = lines.add(2 * at);
                    _mm_prefetch::<_MM_HINT_T0>(line.wrapping_add(PREFETCH).cast());
                    _mm_prefetch::<_MM_HINT_T0>(line.wrapping_add(PREFETCH + 1).cast());
                    [_mm512_load_si512(line.cast()), _mm512_load_si512(line.add(1).cast())]
                } else {
                    let line = lines.add(at);
                    _mm_prefetch::<_MM_HINT_T0>(line.wrapping_add(PREFETCH).cast());
                    let both = _mm512_load_si512(line.cast());
                    let first = _mm512_and_si512(both, nibble);
                    let second = _mm512_and_si512(_mm512_srli_epi16::<4>(both), nibble);
                    if BITS == FIVE {
                        let fifth = fifths.add(at);
                        _mm_prefetch::<_MM_HINT_T0>(fifth.wrapping_add(PREFETCH).cast());
                        let fifth = *fifth;
                        [
                            _mm512_mask_add_epi8(first, fifth[0], first, sixteen),
                            _mm512_mask_add_epi8(second, fifth[1], second, sixteen),
                        ]
                    } else {
                        [first, second]
                    }
                };
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
                let o = if OFFSET {
                    _mm512_load_ps(offset.add(2 * g + half).cast())
                } else {
                    _mm512_setzero_ps()
                };
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
