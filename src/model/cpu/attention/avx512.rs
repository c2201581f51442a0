//! Scores and sums of values in 512-bit vectors: the same operations as in the portable code, in an order that
//! keeps sixteen sums in registers.

use std::arch::x86_64::*;

use super::PAGE;
use crate::model::cpu::packed::HALF as LANES;

/// Vectors of a page's keys.
const VECTORS: usize = PAGE / LANES;

/// Pairs of a page and a head that are scored at once: two vectors each.
const AT_ONCE: usize = 8;

/// Most pages at once: with few heads, one page gives the multipliers too few sums that do not wait for each other.
pub(super) fn pages_at_once(heads: usize) -> usize {
    match heads {
        1 => 4,
        2 | 3 => 2,
        _ => 1,
    }
}

/// Scores of every query head (`q`, `dim` values each) with the keys (`[dim][slot]`) of one, two or four neighbouring
/// pages; those of a head stand `stride` values after those of the one before.
///
/// # Safety
/// AVX-512 F.
pub(super) unsafe fn score_pages(keys: &[&[f32]], q: &[f32], dim: usize, stride: usize, scores: &mut [f32]) {
    let heads = q.len() / dim;
    assert!(heads > 0 && keys.iter().all(|keys| keys.len() == dim * PAGE));
    assert!(scores.len() >= (heads - 1) * stride + keys.len() * PAGE);
    let mut first = 0;
    while first < heads {
        let rest = (heads - first).min(AT_ONCE / keys.len());
        // SAFETY: AVX-512 by the caller's promise; the sizes were checked above, and `rest` heads are left.
        unsafe {
            let q = q.as_ptr().add(first * dim);
            let out = scores.as_mut_ptr().add(first * stride);
            macro_rules! run {
                ($heads:literal, $pages:literal) => {
                    score::<$heads, $pages>(std::array::from_fn(|p| keys[p].as_ptr()), q, dim, stride, out)
                };
            }
            match (rest, keys.len()) {
                (1, 1) => run!(1, 1),
                (2, 1) => run!(2, 1),
                (3, 1) => run!(3, 1),
                (4, 1) => run!(4, 1),
                (5, 1) => run!(5, 1),
                (6, 1) => run!(6, 1),
                (7, 1) => run!(7, 1),
                (8, 1) => run!(8, 1),
                (1, 2) => run!(1, 2),
                (2, 2) => run!(2, 2),
                (3, 2) => run!(3, 2),
                (4, 2) => run!(4, 2),
                (1, 4) => run!(1, 4),
                (2, 4) => run!(2, 4),
                _ => unreachable!("pages come in ones, twos and fours"),
            }
        }
        first += rest;
    }
}

/// # Safety
/// AVX-512 F; `dim × PAGE` keys a page, `dim` values a head, room for `PAGE` scores of each page and head.
// Indices run over several arrays at once, of sizes known here: the compiler keeps them in registers.
#[allow(clippy::needless_range_loop)]
#[target_feature(enable = "avx512f")]
unsafe fn score<const H: usize, const P: usize>(
    keys: [*const f32; P],
    q: *const f32,
    dim: usize,
    stride: usize,
    out: *mut f32,
) {
    let mut acc = [[[_mm512_setzero_ps(); VECTORS]; H]; P];
    // SAFETY: the caller's promise.
    unsafe {
        for d in 0..dim {
            for p in 0..P {
                let keys: [__m512; VECTORS] =
                    std::array::from_fn(|v| _mm512_loadu_ps(keys[p].add(d * PAGE + v * LANES)));
                for h in 0..H {
                    let q = _mm512_set1_ps(*q.add(h * dim + d));
                    for v in 0..VECTORS {
                        acc[p][h][v] = _mm512_fmadd_ps(keys[v], q, acc[p][h][v]);
                    }
                }
            }
        }
        for (p, acc) in acc.iter().enumerate() {
            for (h, acc) in acc.iter().enumerate() {
                for (v, acc) in acc.iter().enumerate() {
                    _mm512_storeu_ps(out.add(h * stride + p * PAGE + v * LANES), *acc);
                }
            }
        }
    }
}

/// Adds the values of one page (`dim` each), weighted by every head's scores, to the heads' sums. `dim` is a multiple of
/// [`LANES`].
///
/// # Safety
/// AVX-512 F.
pub(super) unsafe fn add_page(scores: &[f32], values: &[f32], dim: usize, stride: usize, sums: &mut [f32]) {
    let (heads, slots) = (sums.len() / dim, values.len() / dim);
    assert!(heads > 0 && dim.is_multiple_of(LANES) && scores.len() >= (heads - 1) * stride + slots);
    let mut first = 0;
    while first < heads {
        let rest = (heads - first).min(8);
        // As many vectors as there are registers for.
        let vectors = match rest {
            1 | 2 => 8,
            3 | 4 => 4,
            _ => 2,
        };
        let mut at = 0;
        while at < dim {
            let vectors = vectors.min(1 << ((dim - at) / LANES).ilog2());
            // SAFETY: AVX-512 by the caller's promise; `rest` heads and `vectors` vectors are left.
            unsafe {
                let scores = scores.as_ptr().add(first * stride);
                let sums = sums.as_mut_ptr().add(first * dim + at);
                let values = values.as_ptr().add(at);
                macro_rules! run {
                    ($heads:literal, $vectors:literal) => {
                        add::<$heads, $vectors>(scores, values, slots, dim, stride, sums)
                    };
                }
                match (rest, vectors) {
                    (1, 8) => run!(1, 8),
                    (2, 8) => run!(2, 8),
                    (1, 4) => run!(1, 4),
                    (2, 4) => run!(2, 4),
                    (3, 4) => run!(3, 4),
                    (4, 4) => run!(4, 4),
                    (1, 2) => run!(1, 2),
                    (2, 2) => run!(2, 2),
                    (3, 2) => run!(3, 2),
                    (4, 2) => run!(4, 2),
                    (5, 2) => run!(5, 2),
                    (6, 2) => run!(6, 2),
                    (7, 2) => run!(7, 2),
                    (8, 2) => run!(8, 2),
                    (1, 1) => run!(1, 1),
                    (2, 1) => run!(2, 1),
                    (3, 1) => run!(3, 1),
                    (4, 1) => run!(4, 1),
                    (5, 1) => run!(5, 1),
                    (6, 1) => run!(6, 1),
                    (7, 1) => run!(7, 1),
                    (8, 1) => run!(8, 1),
                    _ => unreachable!("one to eight heads; vectors as their number allows"),
                }
            }
            at += vectors * LANES;
        }
        first += rest;
    }
}

/// # Safety
/// AVX-512 F; `slots` values of `dim` elements and scores a head, `V` vectors of sums a head.
#[allow(clippy::needless_range_loop)]
#[target_feature(enable = "avx512f")]
unsafe fn add<const H: usize, const V: usize>(
    scores: *const f32,
    values: *const f32,
    slots: usize,
    dim: usize,
    stride: usize,
    sums: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut acc: [[__m512; V]; H] =
            std::array::from_fn(|h| std::array::from_fn(|v| _mm512_loadu_ps(sums.add(h * dim + v * LANES))));
        for slot in 0..slots {
            let values: [__m512; V] =
                std::array::from_fn(|v| _mm512_loadu_ps(values.add(slot * dim + v * LANES)));
            for h in 0..H {
                let weight = _mm512_set1_ps(*scores.add(h * stride + slot));
                for v in 0..V {
                    acc[h][v] = _mm512_fmadd_ps(values[v], weight, acc[h][v]);
                }
            }
        }
        for (h, acc) in acc.iter().enumerate() {
            for (v, acc) in acc.iter().enumerate() {
                _mm512_storeu_ps(sums.add(h * dim + v * LANES), *acc);
            }
        }
    }
}
