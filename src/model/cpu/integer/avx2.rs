//! The integer kernel for machines with 256-bit vectors: products of pairs of 16-bit integers, four rows at a time.
//!
//! Two units multiply pairs, two others add them up, so 32 multiply-adds a cycle are the limit of current cores. To
//! come near it the inner loop does nothing else: weights are widened beforehand, once for all rows, so that a register
//! holds two inputs of each of 8 channels; a row's two inputs come from memory, repeated in all lanes.

use std::arch::x86_64::*;

use super::{PanelIntegers, PanelRef};
use crate::model::cpu::activations::{BLOCK, MAX_ROWS, RowBlock};
use crate::model::cpu::matmul::equal_blocks;
use crate::model::cpu::packed::{HALF, Line, PANEL, ZERO};

/// Rows at once: 4 rows × 16 channels of sums fill 8 of 16 registers, and the weights, a row's inputs and the closing of a
/// group need some.
const ROWS: usize = 4;

/// Lines that a widened panel of `cols` inputs takes: `[half][k / 2]`, two inputs of each of 16 channels a line.
pub(super) fn lines_needed(cols: usize) -> usize {
    cols
}

/// # Safety
/// AVX2 and FMA; `words` was filled by [`widen`] from this panel; panel and rows have the same number of inputs, and the
/// rows have words.
pub(super) unsafe fn kernel(
    panel: PanelRef<'_>,
    words: &[Line],
    x: &RowBlock,
    tile: &mut [[f32; PANEL]; MAX_ROWS],
) {
    for (half, words) in words.chunks_exact(words.len() / 2).enumerate() {
        for (first, count) in equal_blocks(x.rows, ROWS) {
            macro_rules! run {
                ($rows:literal) => {
                    match panel.group {
                        16 => rows::<$rows, 16>(panel, words, x, first, half, tile),
                        _ => rows::<$rows, 32>(panel, words, x, first, half, tile),
                    }
                };
            }
            // SAFETY: the caller's promise.
            unsafe {
                match count {
                    1 => run!(1),
                    2 => run!(2),
                    3 => run!(3),
                    _ => run!(4),
                }
            }
        }
    }
}

// Indices run over several arrays at once, of sizes known here: the compiler keeps them in registers.
#[allow(clippy::needless_range_loop)]
#[target_feature(enable = "avx2,fma")]
unsafe fn rows<const R: usize, const GROUP: usize>(
    panel: PanelRef<'_>,
    words: &[Line],
    x: &RowBlock,
    first: usize,
    half: usize,
    tile: &mut [[f32; PANEL]; MAX_ROWS],
) {
    let terms = x.terms(GROUP);
    // SAFETY: `x` holds rows × k words, and `words` k / 2 lines.
    unsafe {
        let mut acc = [[_mm256_setzero_ps(); 2]; R];
        for g in 0..panel.scale.len() / 2 {
            let (block, within) = (g * GROUP / BLOCK, g * GROUP % BLOCK);
            let inputs = x.words.as_ptr().add((block * x.rows + first) * BLOCK + within);
            let weights = words.as_ptr().add(g * GROUP / 2).cast::<__m256i>();
            let mut sums = [[_mm256_setzero_si256(); 2]; R];
            for r in 0..R {
                sums[r] = [_mm256_set1_epi32(terms.bias[g * x.rows + first + r]); 2];
            }
            for p in 0..GROUP / 2 {
                let w = [_mm256_load_si256(weights.add(2 * p)), _mm256_load_si256(weights.add(2 * p + 1))];
                for r in 0..R {
                    let pair = inputs.add(r * BLOCK + 2 * p).cast::<i32>().read_unaligned();
                    let pair = _mm256_set1_epi32(pair);
                    for part in 0..2 {
                        sums[r][part] = _mm256_add_epi32(sums[r][part], _mm256_madd_epi16(w[part], pair));
                    }
                }
            }
            let scale = panel.scale[2 * g + half].0.as_ptr();
            let scale = [_mm256_load_ps(scale), _mm256_load_ps(scale.add(8))];
            for r in 0..R {
                let step = _mm256_set1_ps(x.scale[block * x.rows + first + r]);
                for part in 0..2 {
                    let factor = _mm256_mul_ps(scale[part], step);
                    acc[r][part] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[r][part]), factor, acc[r][part]);
                }
            }
            if let Some(offset) = panel.offset {
                let offset = offset[2 * g + half].0.as_ptr();
                let offset = [_mm256_load_ps(offset), _mm256_load_ps(offset.add(8))];
                for r in 0..R {
                    let sum = _mm256_set1_ps(terms.sum[g * x.rows + first + r]);
                    for part in 0..2 {
                        acc[r][part] = _mm256_fmadd_ps(offset[part], sum, acc[r][part]);
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

/// Widens a panel's integers to 16 bits, their zero made [`ZERO`]; see [`lines_needed`] for the order.
///
/// # Safety
/// AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn widen(integers: PanelIntegers<'_>, words: &mut [Line]) {
    let (first, second) = words.split_at_mut(words.len() / 2);
    let halves = first.as_chunks_mut::<2>().0.iter_mut().zip(second.as_chunks_mut::<2>().0);
    match integers {
        PanelIntegers::Bytes(lines) => {
            for (out, lines) in halves.zip(lines.as_chunks::<2>().0) {
                // SAFETY: the caller's promise.
                unsafe {
                    put(load(&lines[0]), out.0);
                    put(load(&lines[1]), out.1);
                }
            }
        }
        PanelIntegers::Nibbles { low, fifth, zero } => {
            let (nibble, shift) = (_mm256_set1_epi8(0xf), _mm256_set1_epi8((ZERO - zero) as i8));
            for (j, (out, low)) in halves.zip(low).enumerate() {
                // SAFETY: as above.
                unsafe {
                    let [a, b] = load(low);
                    let mut bytes = [a, b, _mm256_srli_epi16::<4>(a), _mm256_srli_epi16::<4>(b)];
                    for bytes in &mut bytes {
                        *bytes = _mm256_add_epi8(_mm256_and_si256(*bytes, nibble), shift);
                    }
                    if let Some(fifth) = fifth {
                        let [a, b] = fifth[j];
                        let fifth = [a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32];
                        for (bytes, fifth) in bytes.iter_mut().zip(fifth) {
                            *bytes = _mm256_add_epi8(*bytes, sixteen_where(fifth));
                        }
                    }
                    let [a, b, c, d] = bytes;
                    put([a, b], out.0);
                    put([c, d], out.1);
                }
            }
        }
    }
}

/// # Safety
/// AVX2.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load(line: &Line) -> [__m256i; 2] {
    let line = line.0.as_ptr().cast::<__m256i>();
    // SAFETY: a line is two vectors, and aligned.
    unsafe { [_mm256_load_si256(line), _mm256_load_si256(line.add(1))] }
}

/// 16 in the bytes whose bit is set.
///
/// # Safety
/// AVX2.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn sixteen_where(bits: u32) -> __m256i {
    let byte_of = _mm256_set_epi64x(
        0x0303_0303_0303_0303,
        0x0202_0202_0202_0202,
        0x0101_0101_0101_0101,
        0x0000_0000_0000_0000,
    );
    let bit_of = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
    let bits = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(bits as i32), byte_of), bit_of);
    _mm256_and_si256(_mm256_cmpeq_epi8(bits, bit_of), _mm256_set1_epi8(16))
}

/// Where the bytes of words lie among those of four channels: their first two inputs, and the other two. 0x80 makes a zero,
/// the upper byte of a word.
const PAIRS: [[i64; 2]; 2] = [
    [0x8005_8004_8001_8000_u64 as i64, 0x800d_800c_8009_8008_u64 as i64],
    [0x8007_8006_8003_8002_u64 as i64, 0x800f_800e_800b_800a_u64 as i64],
];

/// Four inputs of each of 16 channels, as bytes, become two lines of words: the first two inputs of each, then the others.
///
/// # Safety
/// AVX2.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn put(bytes: [__m256i; 2], out: &mut [Line; 2]) {
    for (out, [channels_0_1, channels_2_3]) in out.iter_mut().zip(PAIRS) {
        let order = _mm256_set_epi64x(channels_2_3, channels_0_1, channels_2_3, channels_0_1);
        let out = out.0.as_mut_ptr().cast::<__m256i>();
        // SAFETY: a line is two vectors, and aligned.
        unsafe {
            _mm256_store_si256(out, _mm256_shuffle_epi8(bytes[0], order));
            _mm256_store_si256(out.add(1), _mm256_shuffle_epi8(bytes[1], order));
        }
    }
}
