//! Causal attention over KV pages.
//!
//! A page holds [`PAGE`] positions of every layer. Keys lie `[kv_head][dim][slot]`, so the scores of a page's
//! positions are one vector; values lie `[kv_head][slot][dim]`, so the weighted sum is one too. Several rows go
//! over the pages side by side, so branches of one trunk (and neighbours in a prompt) read what they share once.
//! Each row's scores, softmax and sum go over positions 0, 1, 2 … whatever else is in the batch.

use super::Isa;
use super::matmul::Output;
use super::ops::{exp, lane_max, lane_sum, soft_cap};
use super::simd::multiversion;
use crate::team;

#[cfg(target_arch = "x86_64")]
mod avx512;

/// Positions a page.
pub const PAGE: usize = 32;

/// Shapes that attention needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadShape {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Elements of a query and of a key.
    pub head_dim: usize,
    /// Elements of a value.
    pub value_dim: usize,
}

impl HeadShape {
    /// Heads whose values are as long as their keys.
    pub fn new(heads: usize, kv_heads: usize, head_dim: usize) -> Self {
        Self { heads, kv_heads, head_dim, value_dim: head_dim }
    }

    /// Numbers of one page in one layer's keys.
    pub fn page_size(&self) -> usize {
        self.kv_heads * self.head_dim * PAGE
    }

    /// Numbers of one page in one layer's values.
    pub fn value_page_size(&self) -> usize {
        self.kv_heads * self.value_dim * PAGE
    }

    /// Query heads that share a key head.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }
}

/// Zeros that begin at a cache line, so that no vector of them lies in two.
pub struct Aligned {
    values: Vec<f32>,
    first: usize,
    len: usize,
}

impl Aligned {
    /// `len` zeros. The system gives memory to what is written, not before.
    pub fn zeros(len: usize) -> Self {
        const LINE: usize = 64 / size_of::<f32>();
        let values = vec![0.0f32; len + LINE];
        let first = values.as_ptr().align_offset(64).min(LINE);
        Self { values, first, len }
    }
}

impl std::ops::Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[self.first..][..self.len]
    }
}

impl std::ops::DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[self.first..][..self.len]
    }
}

/// Writes one position's keys (`kv_heads × head_dim`) and values (`kv_heads × value_dim`) into its page.
pub fn store(shape: HeadShape, slot: usize, k: &[f32], v: &[f32], k_page: &mut [f32], v_page: &mut [f32]) {
    let (dim, value_dim) = (shape.head_dim, shape.value_dim);
    for head in 0..shape.kv_heads {
        let base = head * dim * PAGE;
        for d in 0..dim {
            k_page[base + d * PAGE + slot] = k[head * dim + d];
        }
        let at = (head * PAGE + slot) * value_dim;
        v_page[at..][..value_dim].copy_from_slice(&v[head * value_dim..][..value_dim]);
    }
}

/// A row of the batch as attention sees it.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Pages of the row's sequence.
    pub pages: &'a [u32],
    /// The first position that it may look at: not 0 where a sliding window has left it behind.
    pub from: usize,
    /// The end of the positions that it may look at.
    pub len: usize,
}

/// Keys and values of one layer, all pages.
#[derive(Debug, Clone, Copy)]
pub struct KvLayer<'a> {
    /// Shapes.
    pub shape: HeadShape,
    /// Keys: a page after the other, `[kv_head][dim][slot]`.
    pub k: &'a [f32],
    /// Values: a page after the other, `[kv_head][slot][dim]`.
    pub v: &'a [f32],
    /// Scores are bent to stay within this.
    pub cap: Option<f32>,
}

/// Bytes of scores that one task should keep in its cache.
const SCORES: usize = 1 << 19;

/// Causal attention of a batch: `q` (already scaled) holds `heads × head_dim` values a row, `out` `heads × value_dim`.
///
/// Tasks take several rows with one key head, so what rows share comes from memory once a task.
pub fn attend(layer: KvLayer<'_>, queries: &[Query<'_>], q: &[f32], out: &mut [f32]) {
    let shape = layer.shape;
    let (q_width, width) = (shape.heads * shape.head_dim, shape.heads * shape.value_dim);
    let group = shape.group() * shape.value_dim;
    assert_eq!((q.len(), out.len()), (queries.len() * q_width, queries.len() * width));
    let longest = queries.iter().map(|q| q.len).max().unwrap_or(0).next_multiple_of(PAGE);
    let fit = SCORES / (4 * shape.group() * longest.max(PAGE));
    let share = (queries.len() * shape.kv_heads).div_ceil(team::threads());
    let at_once = fit.min(share).clamp(1, 32);
    let out = Output::new(out, width);
    let tasks = queries.len().div_ceil(at_once) * shape.kv_heads;
    team::share(tasks, Vec::new, |scratch, task| {
        let (first, kv_head) = (task / shape.kv_heads * at_once, task % shape.kv_heads);
        let queries = &queries[first..queries.len().min(first + at_once)];
        attend_rows(layer, kv_head, queries, &q[first * q_width..], scratch, |row, sums| {
            // SAFETY: each task writes the columns of its key head in its own rows; they lie in the output.
            unsafe { out.write(first + row, kv_head * group, sums) };
        });
    });
}

/// Attention of a few rows' query heads that share the key head `kv_head`; `put` takes the number of a row and
/// the result of its heads.
fn attend_rows(
    KvLayer { shape, k, v, cap }: KvLayer<'_>,
    kv_head: usize,
    queries: &[Query<'_>],
    q: &[f32],
    scratch: &mut Vec<f32>,
    mut put: impl FnMut(usize, &[f32]),
) {
    let (dim, value_dim, group) = (shape.head_dim, shape.value_dim, shape.group());
    let longest = queries.iter().map(|q| q.len).max().unwrap_or(0).next_multiple_of(PAGE);
    let (base, value_base) = (kv_head * dim * PAGE, kv_head * value_dim * PAGE);
    // Scores of all rows, then their sums of values.
    let stride = group * longest;
    scratch.resize(queries.len() * (stride + group * value_dim), 0.0);
    let (scores, sums) = scratch.split_at_mut(queries.len() * stride);
    sums.fill(0.0);

    let isa = Isa::detect();
    let at_once = pages_at_once(isa, group);
    for first in (0..longest / PAGE).step_by(at_once) {
        for (r, query) in queries.iter().enumerate() {
            let last = query.len.div_ceil(PAGE).min(first + at_once);
            let seen = first.max(query.from / PAGE);
            let q = &q[r * shape.heads * dim + kv_head * group * dim..][..group * dim];
            let keys =
                |page: usize| &k[query.pages[page] as usize * shape.page_size() + base..][..dim * PAGE];
            let scores = &mut scores[r * stride..][..stride];
            if first + at_once == last && seen == first {
                let keys: [&[f32]; MOST_PAGES] = std::array::from_fn(|i| keys(first + i.min(at_once - 1)));
                score_pages(isa, &keys[..at_once], q, dim, longest, &mut scores[first * PAGE..]);
            } else {
                for page in seen..last {
                    score_pages(isa, &[keys(page)], q, dim, longest, &mut scores[page * PAGE..]);
                }
            }
        }
    }
    for (scores, query) in scores.chunks_exact_mut(stride).zip(queries) {
        for scores in scores.chunks_exact_mut(longest) {
            let (before, scores) = scores[..query.len].split_at_mut(query.from);
            if let Some(cap) = cap {
                soft_cap(scores, cap);
            }
            softmax(scores);
            // Positions of the first page that are out of sight.
            let hidden = query.from % PAGE;
            before[query.from - hidden..].fill(0.0);
        }
    }
    for page in 0..longest / PAGE {
        let sees = |query: &Query<'_>| (query.from / PAGE..query.len.div_ceil(PAGE)).contains(&page);
        for (r, query) in queries.iter().enumerate().filter(|(_, query)| sees(query)) {
            let at = query.pages[page] as usize * shape.value_page_size() + value_base;
            let values = &v[at..][..value_dim * PAGE];
            let filled = PAGE.min(query.len - page * PAGE);
            let sums = &mut sums[r * group * value_dim..][..group * value_dim];
            let scores = &scores[r * stride + page * PAGE..(r + 1) * stride];
            add_page(isa, scores, &values[..filled * value_dim], value_dim, longest, sums);
        }
    }
    for (r, sums) in sums.chunks_exact(group * value_dim).enumerate() {
        put(r, sums);
    }
}

/// Most neighbouring pages that are scored at once.
const MOST_PAGES: usize = 4;

/// Neighbouring pages that are scored at once, for rows with `heads` query heads a key head.
fn pages_at_once(isa: Isa, heads: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx512 {
        return avx512::pages_at_once(heads);
    }
    let _ = (isa, heads);
    1
}

/// Scores of every query head (`q`, `dim` values each) with the keys (`[dim][slot]`) of [`pages_at_once`] pages or one;
/// those of a head stand `stride` values after those of the one before.
fn score_pages(isa: Isa, keys: &[&[f32]], q: &[f32], dim: usize, stride: usize, scores: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx512 {
        // SAFETY: the instruction set was detected.
        unsafe { avx512::score_pages(keys, q, dim, stride, scores) };
        return;
    }
    let _ = isa;
    for (i, keys) in keys.iter().enumerate() {
        score_page(q, keys.as_chunks().0, dim, stride, &mut scores[i * PAGE..]);
    }
}

/// Adds the values of one page (`dim` each), weighted by every head's scores, to the heads' sums.
fn add_page(isa: Isa, scores: &[f32], values: &[f32], dim: usize, stride: usize, sums: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx512 && dim.is_multiple_of(LANES) {
        // SAFETY: the instruction set was detected.
        unsafe { avx512::add_page(scores, values, dim, stride, sums) };
        return;
    }
    let _ = isa;
    add_page_portable(scores, values, dim, stride, sums);
}

multiversion! {
    fn score_page(q: &[f32], keys: &[[f32; PAGE]], dim: usize, stride: usize, scores: &mut [f32]) {
        let heads = q.len() / dim;
        let mut first = 0;
        while first < heads {
            // Four heads at once: enough independent sums to keep the multipliers busy, few enough to hold.
            let q = &q[first * dim..];
            let out = &mut scores[first * stride..];
            first += match heads - first {
                1 => score_heads::<1>(q, keys, dim, stride, out),
                2 => score_heads::<2>(q, keys, dim, stride, out),
                3 => score_heads::<3>(q, keys, dim, stride, out),
                _ => score_heads::<4>(q, keys, dim, stride, out),
            };
        }
    }
}

#[inline(always)]
fn score_heads<const H: usize>(
    q: &[f32],
    keys: &[[f32; PAGE]],
    dim: usize,
    stride: usize,
    out: &mut [f32],
) -> usize {
    let mut acc = [[0f32; PAGE]; H];
    let q: [&[f32]; H] = std::array::from_fn(|h| &q[h * dim..][..keys.len()]);
    for (d, keys) in keys.iter().enumerate() {
        for h in 0..H {
            let q = q[h][d];
            for i in 0..PAGE {
                acc[h][i] = keys[i].mul_add(q, acc[h][i]);
            }
        }
    }
    for (h, acc) in acc.iter().enumerate() {
        out[h * stride..][..PAGE].copy_from_slice(acc);
    }
    H
}

multiversion! {
    /// Softmax of a row's scores for one head.
    fn softmax(scores: &mut [f32]) {
        let max = lane_max(scores);
        for s in scores.iter_mut() {
            *s = exp(*s - max);
        }
        let inv = 1.0 / lane_sum(scores, |s| s);
        for s in scores.iter_mut() {
            *s *= inv;
        }
    }
}

/// Elements of a value that are summed side by side.
const LANES: usize = 16;

multiversion! {
    fn add_page_portable(scores: &[f32], values: &[f32], dim: usize, stride: usize, sums: &mut [f32]) {
        let heads = sums.len() / dim;
        let mut first = 0;
        while first < heads {
            let scores = &scores[first * stride..];
            let sums = &mut sums[first * dim..];
            first += match heads - first {
                1 => add_heads::<1>(scores, values, dim, stride, sums),
                2 => add_heads::<2>(scores, values, dim, stride, sums),
                3 => add_heads::<3>(scores, values, dim, stride, sums),
                _ => add_heads::<4>(scores, values, dim, stride, sums),
            };
        }
    }
}

#[inline(always)]
fn add_heads<const H: usize>(
    scores: &[f32],
    values: &[f32],
    dim: usize,
    stride: usize,
    sums: &mut [f32],
) -> usize {
    let slots = values.len() / dim;
    let weights: [&[f32]; H] = std::array::from_fn(|h| &scores[h * stride..][..slots]);
    // Two vectors of each head at once where the size allows.
    let mut at = 0;
    while at + 2 * LANES <= dim {
        add_lanes::<H, { 2 * LANES }>(&weights, values, dim, at, sums);
        at += 2 * LANES;
    }
    while at + LANES <= dim {
        add_lanes::<H, LANES>(&weights, values, dim, at, sums);
        at += LANES;
    }
    while at < dim {
        add_lanes::<H, 1>(&weights, values, dim, at, sums);
        at += 1;
    }
    H
}

#[inline(always)]
fn add_lanes<const H: usize, const N: usize>(
    weights: &[&[f32]; H],
    values: &[f32],
    dim: usize,
    at: usize,
    sums: &mut [f32],
) {
    let mut acc = [[0f32; N]; H];
    for (h, acc) in acc.iter_mut().enumerate() {
        acc.copy_from_slice(&sums[h * dim + at..][..N]);
    }
    for (slot, values) in values.chunks_exact(dim).enumerate() {
        let values = &values[at..][..N];
        for h in 0..H {
            let weight = weights[h][slot];
            for i in 0..N {
                acc[h][i] = values[i].mul_add(weight, acc[h][i]);
            }
        }
    }
    for (h, acc) in acc.iter().enumerate() {
        sums[h * dim + at..][..N].copy_from_slice(acc);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors' scores and sums have the bits of the portable code, for every number of heads and size.
    #[test]
    fn vectors_give_the_same_bits() {
        let noise = |n: usize, seed: usize| -> Vec<f32> {
            (0..n).map(|i| ((i * 7919 + seed * 131) % 1009) as f32 / 504.5 - 1.0).collect()
        };
        for (heads, dim) in (1..=10).flat_map(|heads| [16, 40, 48, 64, 128].map(|dim| (heads, dim))) {
            let isa = Isa::detect();
            let pages = pages_at_once(isa, heads);
            let (stride, q) = (pages * PAGE, noise(heads * dim, 1));
            let keys: Vec<Vec<f32>> = (0..pages).map(|page| noise(dim * PAGE, 2 + page)).collect();
            let keys: Vec<&[f32]> = keys.iter().map(Vec::as_slice).collect();
            let score = |isa: Isa| {
                let mut scores = vec![f32::NAN; heads * stride];
                score_pages(isa, &keys, &q, dim, stride, &mut scores);
                scores
            };
            let scores = score(isa);
            assert_eq!(scores, score(Isa::Portable), "scores of {heads} heads of {dim}");
            for slots in [1, 5, PAGE] {
                let add = |isa: Isa| {
                    let mut sums = noise(heads * dim, 9);
                    add_page(isa, &scores, &noise(slots * dim, 7), dim, stride, &mut sums);
                    sums
                };
                assert_eq!(add(isa), add(Isa::Portable), "sums of {heads} heads of {dim}, {slots} slots");
            }
        }
    }

    /// Against plain softmax attention in f64, over pages in any order: for a head size that is no multiple of the lanes,
    /// values of another size than keys, windows that begin anywhere in a page, and bent scores.
    #[test]
    fn agrees_with_f64() {
        for (dim, value_dim, from, cap) in [
            (8, 8, 0, None),
            (20, 20, 0, None),
            (64, 64, 0, None),
            (24, 16, 0, None),
            (64, 64, 1, None),
            (64, 32, PAGE, Some(0.7)),
            (16, 16, PAGE + 31, None),
            (16, 16, 2 * PAGE + 4, Some(3.0)),
        ] {
            let shape = HeadShape { heads: 4, kv_heads: 2, head_dim: dim, value_dim };
            let len = 2 * PAGE + 5;
            let pages = [2u32, 0, 3];
            let value = |a: usize, b: usize| ((a * 131 + b * 17 + 7) % 97) as f32 / 48.5 - 1.0;
            let mut k_layer = vec![f32::NAN; 4 * shape.page_size()];
            let mut v_layer = vec![0.5; 4 * shape.value_page_size()];
            for pos in 0..len {
                let k: Vec<f32> = (0..2 * dim).map(|i| value(pos, i)).collect();
                let v: Vec<f32> = (0..2 * value_dim).map(|i| value(i, pos + 3)).collect();
                let page = pages[pos / PAGE] as usize;
                let k_page = &mut k_layer[page * shape.page_size()..][..shape.page_size()];
                let v_page = &mut v_layer[page * shape.value_page_size()..][..shape.value_page_size()];
                store(shape, pos % PAGE, &k, &v, k_page, v_page);
            }
            let q: Vec<f32> = (0..4 * dim).map(|i| value(i, 5)).collect();
            // The row in question between two others, one of which sees less, the other more.
            let layer = KvLayer { shape, k: &k_layer, v: &v_layer, cap };
            let queries =
                [(0, PAGE), (from, len), (0, len)].map(|(from, len)| Query { pages: &pages, from, len });
            let rows = [vec![1.0; 4 * dim], q.clone(), vec![-1.0; 4 * dim]].concat();
            let mut out = vec![0.0; 12 * value_dim];
            attend(layer, &queries, &rows, &mut out);
            let out = &out[4 * value_dim..][..4 * value_dim];
            let mut alone = vec![0.0; 4 * value_dim];
            attend(layer, &queries[1..2], &q, &mut alone);
            assert_eq!(alone, out);
            for (kv_head, g) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let score = |pos: usize| -> f64 {
                    let product = |d: usize| {
                        f64::from(q[(2 * kv_head + g) * dim + d]) * f64::from(value(pos, kv_head * dim + d))
                    };
                    let score: f64 = (0..dim).map(product).sum();
                    cap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
                };
                let max = (from..len).map(score).fold(f64::MIN, f64::max);
                let total: f64 = (from..len).map(|p| (score(p) - max).exp()).sum();
                for d in 0..value_dim {
                    let weighed = |p: usize| {
                        (score(p) - max).exp() / total * f64::from(value(kv_head * value_dim + d, p + 3))
                    };
                    let truth: f64 = (from..len).map(weighed).sum();
                    let ours = f64::from(out[(2 * kv_head + g) * value_dim + d]);
                    assert!(
                        (ours - truth).abs() < 1e-5,
                        "dim {dim}, from {from}, head {kv_head}/{g}[{d}]: {ours} {truth}"
                    );
                }
            }
        }
    }
}
