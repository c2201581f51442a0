//! Activations for the integer kernels: 16-bit integers with a scale per 32 inputs.
//!
//! A block's largest magnitude becomes ±32,512, so rounding costs at most 1.5e-5 of it; nothing else in a
//! quantised product is inexact but its f32 sums. Kernels that multiply bytes get the 16 bits as two signed bytes,
//! `256 · high + low`, in planes of their own: byte dot products of both planes with the same weights give the exact
//! result. Kernels that multiply 16-bit integers get words.

use super::matmul::equal_blocks;
use super::ops::ROUNDER;
use super::packed::ZERO;
use super::simd::multiversion;
use super::{Isa, integer};
use crate::team;

/// Inputs that share a scale.
pub(super) const BLOCK: usize = 32;

/// Most rows in a block of rows: a panel of weights is taken through the cache once for each block.
pub(super) const MAX_ROWS: usize = 8;

/// The largest integer; its high byte is 127 and its low byte 0.
const LARGEST: f32 = 32_512.0;

/// Below this a block counts as zero (its reciprocal could overflow).
const SMALLEST: f32 = 1e-30;

/// A batch of activations, in blocks of at most [`MAX_ROWS`] rows. The vectors are kept from call to call.
#[derive(Debug, Default)]
pub(super) struct Activations {
    blocks: Vec<RowBlock>,
}

/// The activations of a few rows.
#[derive(Debug, Default)]
pub(super) struct RowBlock {
    /// Number of the first row.
    pub first: usize,
    /// Number of rows.
    pub rows: usize,
    /// `[k / 32][high, low][row][k % 32]`; empty where the kernel takes words.
    pub planes: Vec<i8>,
    /// `[k / 32][row][k % 32]`; empty where the kernel takes planes.
    pub words: Vec<i16>,
    /// `[k / 32][row]`.
    pub scale: Vec<f32>,
    /// By groups of 16 and of 32.
    groups: [GroupTerms; 2],
}

/// What the kernels need to know of each group of inputs, `[group][row]`.
#[derive(Debug, Default)]
pub(super) struct GroupTerms {
    /// `−128 · Σ a`: takes back what [`ZERO`] added to the weights.
    pub bias: Vec<i32>,
    /// `scale · Σ a`: what a weight's offset is multiplied with.
    pub sum: Vec<f32>,
}

impl RowBlock {
    /// The terms for weights whose groups have `group` (16 or 32) inputs.
    pub fn terms(&self, group: usize) -> &GroupTerms {
        &self.groups[usize::from(group == BLOCK)]
    }
}

impl Activations {
    /// The blocks of rows.
    pub fn blocks(&self) -> &[RowBlock] {
        &self.blocks
    }

    /// Quantises `rows` rows of `cols` inputs each, for the kernel of this machine.
    pub fn quantise(&mut self, x: &[f32], rows: usize, cols: usize) {
        self.quantise_for(Isa::detect(), x, rows, cols);
    }

    /// The same, for the kernel of an instruction set.
    pub fn quantise_for(&mut self, isa: Isa, x: &[f32], rows: usize, cols: usize) {
        let (planes, words) = if integer::takes_words(isa) { (0, 1) } else { (2, 0) };
        let blocks = equal_blocks(rows, MAX_ROWS);
        self.blocks.resize_with(blocks.len(), RowBlock::default);
        for (block, (first, rows)) in self.blocks.iter_mut().zip(blocks) {
            (block.first, block.rows) = (first, rows);
            block.planes.resize(planes * rows * cols, 0);
            block.words.resize(words * rows * cols, 0);
            block.scale.resize(rows * (cols / BLOCK), 0.0);
            for (terms, size) in block.groups.iter_mut().zip([BLOCK / 2, BLOCK]) {
                terms.bias.resize(rows * (cols / size), 0);
                terms.sum.resize(rows * (cols / size), 0.0);
            }
        }
        let parts = self.blocks.iter_mut().flat_map(|block| block.parts(cols));
        if rows * cols > PART * MAX_ROWS {
            let parts: Vec<Part<'_>> = parts.collect();
            team::each(parts.into_iter(), |mut part| quantise_part(x, cols, &mut part));
        } else {
            parts.for_each(|mut part| quantise_part(x, cols, &mut part));
        }
    }
}

/// Inputs of one task.
const PART: usize = 512;

/// Where the activations of a few rows and inputs go.
struct Part<'a> {
    first_row: usize,
    rows: usize,
    first_input: usize,
    integers: PartIntegers<'a>,
    scale: &'a mut [f32],
    halves: (&'a mut [i32], &'a mut [f32]),
    wholes: (&'a mut [i32], &'a mut [f32]),
}

/// See [`RowBlock`].
enum PartIntegers<'a> {
    Planes(&'a mut [i8]),
    Words(&'a mut [i16]),
}

impl RowBlock {
    /// Splits the block along the inputs.
    fn parts(&mut self, cols: usize) -> impl Iterator<Item = Part<'_>> {
        let (first_row, rows) = (self.first, self.rows);
        let size = rows * PART;
        let [halves, wholes] = &mut self.groups;
        let halves = halves.bias.chunks_mut(size / 16).zip(halves.sum.chunks_mut(size / 16));
        let wholes = wholes.bias.chunks_mut(size / 32).zip(wholes.sum.chunks_mut(size / 32));
        // One of the two is empty.
        let planes = self.planes.chunks_mut(2 * size).map(PartIntegers::Planes);
        let integers = planes.chain(self.words.chunks_mut(size).map(PartIntegers::Words));
        let integers = integers.zip(self.scale.chunks_mut(size / BLOCK));
        integers.zip(halves.zip(wholes)).zip((0..cols).step_by(PART)).map(
            move |(((integers, scale), (halves, wholes)), first_input)| Part {
                first_row,
                rows,
                first_input,
                integers,
                scale,
                halves,
                wholes,
            },
        )
    }
}

fn quantise_part(x: &[f32], cols: usize, part: &mut Part<'_>) {
    let isa = Isa::detect();
    let rows = part.rows;
    let inputs = part.scale.len() / rows * BLOCK;
    for r in 0..rows {
        let row = &x[(part.first_row + r) * cols + part.first_input..][..inputs];
        for (b, x) in row.as_chunks::<BLOCK>().0.iter().enumerate() {
            let (step, [first, second]) = match &mut part.integers {
                PartIntegers::Planes(planes) => {
                    let (high, low) =
                        planes[2 * b * rows * BLOCK..][..2 * rows * BLOCK].split_at_mut(rows * BLOCK);
                    quantise_block(isa, x, (&mut high.as_chunks_mut().0[r], &mut low.as_chunks_mut().0[r]))
                }
                PartIntegers::Words(words) => {
                    let mut terms = Terms::default();
                    quantise(x, &mut words.as_chunks_mut().0[b * rows + r], &mut terms);
                    terms
                }
            };
            part.scale[b * rows + r] = step;
            let set = |terms: &mut (&mut [i32], &mut [f32]), group: usize, sum: i32| {
                terms.0[group * rows + r] = -ZERO * sum;
                terms.1[group * rows + r] = step * sum as f32;
            };
            set(&mut part.halves, 2 * b, first);
            set(&mut part.halves, 2 * b + 1, second);
            set(&mut part.wholes, b, first + second);
        }
    }
}

fn quantise_block(isa: Isa, x: &[f32; BLOCK], planes: Planes<'_>) -> Terms {
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx512 {
        // SAFETY: the instruction set was detected.
        return unsafe { avx512::quantise(x, planes) };
    }
    let _ = isa;
    let (mut words, mut terms) = ([0; BLOCK], Terms::default());
    quantise(x, &mut words, &mut terms);
    let (high, low) = planes;
    for i in 0..BLOCK {
        low[i] = words[i] as i8;
        high[i] = ((i32::from(words[i]) - i32::from(low[i])) >> 8) as i8;
    }
    terms
}

/// Planes of one block of one row: high, low.
type Planes<'a> = (&'a mut [i8; BLOCK], &'a mut [i8; BLOCK]);

/// What the integers of a block with this largest magnitude are multiplied with, and what made them: `(inverse, step)`. A
/// value that is no number makes the whole row none, as it would in f32.
fn steps(largest: f32) -> (f32, f32) {
    if !largest.is_finite() {
        (0.0, f32::NAN)
    } else if largest > SMALLEST {
        (LARGEST / largest, largest / LARGEST)
    } else {
        (0.0, 0.0)
    }
}

/// A block's step, and the sums of the integers of its halves.
type Terms = (f32, [i32; 2]);

multiversion! {
    fn quantise(x: &[f32; BLOCK], words: &mut [i16; BLOCK], terms: &mut Terms) {
        // Magnitudes order like their bits, and what is no number comes out on top.
        let largest = x.iter().map(|x| x.abs().to_bits()).max().map_or(0.0, f32::from_bits);
        let (inverse, step) = steps(largest);
        // Rounds to the nearest integer, ties to even.
        let integers: [i32; BLOCK] = std::array::from_fn(|i| {
            (x[i].mul_add(inverse, ROUNDER)).to_bits().wrapping_sub(ROUNDER.to_bits()) as i32
        });
        *words = integers.map(|integer| integer as i16);
        let (first, second) = integers.split_at(BLOCK / 2);
        *terms = (step, [first.iter().sum(), second.iter().sum()]);
    }
}

/// The same in 512-bit vectors.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{BLOCK, Planes, ROUNDER, Terms, steps};

    /// # Safety
    /// AVX-512 F.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn quantise(x: &[f32; BLOCK], (high, low): Planes<'_>) -> Terms {
        // SAFETY: halves of a block of inputs and of the planes.
        unsafe {
            let x = [_mm512_loadu_ps(x.as_ptr()), _mm512_loadu_ps(x.as_ptr().add(BLOCK / 2))];
            let magnitudes = x.map(|x| _mm512_castps_si512(_mm512_abs_ps(x)));
            let largest = _mm512_reduce_max_epu32(_mm512_max_epu32(magnitudes[0], magnitudes[1]));
            let (inverse, step) = steps(f32::from_bits(largest));
            let rounder = _mm512_set1_ps(ROUNDER);
            let integers = x.map(|x| {
                let rounded = _mm512_fmadd_ps(x, _mm512_set1_ps(inverse), rounder);
                _mm512_sub_epi32(_mm512_castps_si512(rounded), _mm512_castps_si512(rounder))
            });
            for (half, integers) in integers.into_iter().enumerate() {
                let signed = _mm512_srai_epi32::<24>(_mm512_slli_epi32::<24>(integers));
                let rest = _mm512_srai_epi32::<8>(_mm512_sub_epi32(integers, signed));
                let at = half * BLOCK / 2;
                _mm_storeu_si128(low.as_mut_ptr().add(at).cast(), _mm512_cvtepi32_epi8(integers));
                _mm_storeu_si128(high.as_mut_ptr().add(at).cast(), _mm512_cvtepi32_epi8(rest));
            }
            (step, integers.map(|integers| _mm512_reduce_add_epi32(integers)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_scales_give_the_values_back() {
        let (rows, cols) = (19, 96);
        let x: Vec<f32> =
            (0..rows * cols).map(|i| ((i * 37 % 101) as f32 - 50.0) * 1.7f32.powi(i as i32 % 9)).collect();
        let mut activations = Activations::default();
        for isa in [Isa::Portable, Isa::Avx2, Isa::Vnni] {
            activations.quantise_for(isa, &x, rows, cols);
            let sizes: Vec<(usize, usize)> = activations.blocks().iter().map(|b| (b.first, b.rows)).collect();
            assert_eq!(sizes, [(0, 7), (7, 6), (13, 6)]);
            for block in activations.blocks() {
                assert_eq!(block.words.is_empty(), !integer::takes_words(isa));
                assert_eq!(block.planes.is_empty(), integer::takes_words(isa));
                for r in 0..block.rows {
                    for b in 0..cols / BLOCK {
                        let truth = &x[(block.first + r) * cols + b * BLOCK..][..BLOCK];
                        let largest = truth.iter().fold(0f32, |a, b| a.max(b.abs()));
                        let mut sum = 0;
                        for (i, truth) in truth.iter().enumerate() {
                            let integer = if integer::takes_words(isa) {
                                i32::from(block.words[(b * block.rows + r) * BLOCK + i])
                            } else {
                                let plane = |p: usize| {
                                    i32::from(block.planes[((2 * b + p) * block.rows + r) * BLOCK + i])
                                };
                                256 * plane(0) + plane(1)
                            };
                            sum += integer;
                            let back = integer as f32 * block.scale[b * block.rows + r];
                            assert!((back - truth).abs() <= largest * 1.6e-5, "{back} and not {truth}");
                        }
                        assert_eq!(block.terms(32).bias[b * block.rows + r], -128 * sum);
                    }
                }
            }
        }
    }

    /// The vectors' planes, steps and sums are those of the portable code, also for what is no number.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn vectors_give_the_same() {
        if Isa::detect() < Isa::Avx512 {
            return;
        }
        for seed in 0..200 {
            let mut x: [f32; BLOCK] = std::array::from_fn(|i| {
                ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.5 - 1.0
                    + if i == seed % 40 { 3.7 } else { 0.0 }
            });
            match seed {
                7 => x[3] = f32::NAN,
                8 => x[30] = f32::NEG_INFINITY,
                9 => x = [0.0; BLOCK],
                _ => {}
            }
            let mut planes = [[0i8; BLOCK]; 4];
            let [a, b, c, d] = &mut planes;
            let (step, sums) = quantise_block(Isa::Portable, &x, (a, b));
            // SAFETY: AVX-512 was detected.
            let (wide_step, wide_sums) = unsafe { avx512::quantise(&x, (c, d)) };
            assert_eq!((step.to_bits(), sums), (wide_step.to_bits(), wide_sums), "block {seed}");
            assert_eq!((planes[0], planes[1]), (planes[2], planes[3]), "block {seed}");
        }
    }

    #[test]
    fn zeros_and_values_that_are_no_numbers() {
        let mut activations = Activations::default();
        activations.quantise(&[0.0; 32], 1, 32);
        assert_eq!(activations.blocks()[0].scale, [0.0]);
        for bad in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let mut x = [1.0; 32];
            x[7] = bad;
            activations.quantise(&x, 1, 32);
            assert!(activations.blocks()[0].scale[0].is_nan());
        }
    }
}
