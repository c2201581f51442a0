//! The integer kernel for machines with 256-bit vectors: products of 16-bit pairs, two rows at a time.

use std::arch::x86_64::*;

use super::PanelRef;
use crate::model::cpu::activations::{BLOCK, MAX_ROWS, RowBlock};
use crate::model::cpu::packed::{HALF, PANEL};

/// # Safety
/// AVX2 and FMA; panel and rows have the same number of inputs.
pub(super) unsafe fn kernel(panel: PanelRef<'_>, x: &RowBlock, tile: &mut [[f32; PANEL]; MAX_ROWS]) {
    for half in 0..2 {
        let mut first = 0;
        while first < x.rows {
            // SAFETY: the caller's promise.
            unsafe {
                if x.rows - first >= 2 {
                    rows::<2>(panel, x, first, half, tile);
                    first += 2;
                } else {
                    rows::<1>(panel, x, first, half, tile);
                    first += 1;
                }
            }
        }
    }
}

/// Four activations of a row as 16-bit integers, once in each quarter of a register.
///
/// # Safety
/// AVX2; both planes have four bytes.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn four(high: *const i8, low: *const i8) -> __m256i {
    // SAFETY: the caller's promise.
    let (high, low) = unsafe { (high.cast::<i32>().read_unaligned(), low.cast::<i32>().read_unaligned()) };
    let high = _mm_slli_epi16::<8>(_mm_cvtepi8_epi16(_mm_cvtsi32_si128(high)));
    let low = _mm_cvtepi8_epi16(_mm_cvtsi32_si128(low));
    _mm256_broadcastq_epi64(_mm_add_epi16(high, low))
}

// Indices run over several arrays at once, of sizes known here: the compiler keeps them in registers.
#[allow(clippy::needless_range_loop)]
#[target_feature(enable = "avx2,fma")]
unsafe fn rows<const R: usize>(
    panel: PanelRef<'_>,
    x: &RowBlock,
    first: usize,
    half: usize,
    tile: &mut [[f32; PANEL]; MAX_ROWS],
) {
    let (group, terms, lines) = (panel.group, x.terms(panel.group), panel.bytes());
    // SAFETY: `x` holds 2 × rows × k bytes, and `panel` k / 4 × 2 lines of 64 bytes (see their types).
    unsafe {
        let mut acc = [[_mm256_setzero_ps(); 2]; R];
        for g in 0..panel.scale.len() / 2 {
            let (block, within) = (g * group / BLOCK, g * group % BLOCK);
            let high_plane = x.planes.as_ptr().add((2 * block * x.rows + first) * BLOCK + within);
            let low_plane = high_plane.add(x.rows * BLOCK);
            // A register holds two partial sums of each of four channels.
            let mut sums = [[_mm256_setzero_si256(); 4]; R];
            for j in 0..group / 4 {
                let line = lines.as_ptr().add((g * group / 4 + j) * 2 + half).cast::<__m128i>();
                let mut a = [_mm256_setzero_si256(); R];
                for r in 0..R {
                    let at = r * BLOCK + 4 * j;
                    a[r] = four(high_plane.add(at), low_plane.add(at));
                }
                for c in 0..4 {
                    let w = _mm256_cvtepu8_epi16(_mm_load_si128(line.add(c)));
                    for r in 0..R {
                        sums[r][c] = _mm256_add_epi32(sums[r][c], _mm256_madd_epi16(w, a[r]));
                    }
                }
            }
            for r in 0..R {
                let bias = _mm256_set1_epi32(terms.bias[g * x.rows + first + r]);
                let step = _mm256_set1_ps(x.scale[block * x.rows + first + r]);
                for part in 0..2 {
                    // Adds the partial sums of a channel, and puts the channels in order.
                    let pairs = _mm256_hadd_epi32(sums[r][2 * part], sums[r][2 * part + 1]);
                    let integer = _mm256_add_epi32(_mm256_permute4x64_epi64::<0b11_01_10_00>(pairs), bias);
                    let scale = _mm256_loadu_ps(panel.scale[2 * g + half].0.as_ptr().add(8 * part));
                    acc[r][part] = _mm256_fmadd_ps(
                        _mm256_cvtepi32_ps(integer),
                        _mm256_mul_ps(scale, step),
                        acc[r][part],
                    );
                    if let Some(offset) = panel.offset {
                        let offset = _mm256_loadu_ps(offset[2 * g + half].0.as_ptr().add(8 * part));
                        let sum = _mm256_set1_ps(terms.sum[g * x.rows + first + r]);
                        acc[r][part] = _mm256_fmadd_ps(offset, sum, acc[r][part]);
                    }
                }
            }
        }
        for r in 0..R {
            let out = tile[first + r][half * HALF..].as_mut_ptr();
            _mm256_storeu_ps(out, acc[r][0]);
            _mm256_storeu_ps(out.add(8), acc[r][1]);
        }
    }
}
