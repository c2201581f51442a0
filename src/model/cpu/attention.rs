//! Causal attention of single rows over KV pages.
//!
//! A page holds [`PAGE`] positions of every layer. Keys lie `[kv_head][dim][slot]`, so the scores of a page's
//! positions are one vector; values lie `[kv_head][slot][dim]`, so the weighted sum is one too. A row's scores,
//! softmax and sum go over positions 0, 1, 2 … whatever else is in the batch.

use super::ops::exp;
use super::simd::multiversion;

/// Positions a page.
pub const PAGE: usize = 32;

/// Shapes that attention needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadShape {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Elements a head.
    pub head_dim: usize,
}

impl HeadShape {
    /// Values of one page in one layer's keys (and as many in its values).
    pub fn page_size(&self) -> usize {
        self.kv_heads * self.head_dim * PAGE
    }

    /// Query heads that share a key head.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }
}

/// Writes one position's keys and values (`kv_heads × head_dim` each) into its page.
pub fn store(shape: HeadShape, slot: usize, k: &[f32], v: &[f32], k_page: &mut [f32], v_page: &mut [f32]) {
    let dim = shape.head_dim;
    for head in 0..shape.kv_heads {
        let base = head * dim * PAGE;
        for d in 0..dim {
            k_page[base + d * PAGE + slot] = k[head * dim + d];
        }
        v_page[base + slot * dim..][..dim].copy_from_slice(&v[head * dim..][..dim]);
    }
}

multiversion! {
    /// Attention of one row's query heads that share the key head `kv_head` (`group × head_dim`, already scaled)
    /// over the first `len` positions of `pages`; the result goes to `out`. `scores` is scratch space.
    pub fn attend(
        shape: HeadShape,
        kv_head: usize,
        q: &[f32],
        pages: &[u32],
        len: usize,
        k_layer: &[f32],
        v_layer: &[f32],
        scores: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        let (dim, group) = (shape.head_dim, shape.group());
        let stride = len.next_multiple_of(PAGE);
        let base = kv_head * dim * PAGE;
        scores.resize(group * stride, 0.0);

        for (p, &page) in pages.iter().take(len.div_ceil(PAGE)).enumerate() {
            let keys = &k_layer[page as usize * shape.page_size() + base..][..dim * PAGE];
            let keys = keys.as_chunks::<PAGE>().0;
            for g in 0..group {
                let mut acc = [0f32; PAGE];
                for (keys, &q) in keys.iter().zip(&q[g * dim..][..dim]) {
                    for i in 0..PAGE {
                        acc[i] = keys[i].mul_add(q, acc[i]);
                    }
                }
                scores[g * stride + p * PAGE..][..PAGE].copy_from_slice(&acc);
            }
        }

        for scores in scores.chunks_exact_mut(stride) {
            let scores = &mut scores[..len];
            let max = scores.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
            for s in scores.iter_mut() {
                *s = exp(*s - max);
            }
            let total: f32 = scores.iter().sum();
            let inv = 1.0 / total;
            for s in scores.iter_mut() {
                *s *= inv;
            }
        }

        out.fill(0.0);
        for (p, &page) in pages.iter().take(len.div_ceil(PAGE)).enumerate() {
            let values = &v_layer[page as usize * shape.page_size() + base..][..dim * PAGE];
            let filled = PAGE.min(len - p * PAGE);
            for g in 0..group {
                let weights = &scores[g * stride + p * PAGE..][..filled];
                let out = &mut out[g * dim..][..dim];
                const LANES: usize = 16;
                let (chunks, rest) = out.as_chunks_mut::<LANES>();
                let whole = chunks.len() * LANES;
                for (c, chunk) in chunks.iter_mut().enumerate() {
                    let mut acc = *chunk;
                    for (values, &w) in values.chunks_exact(dim).zip(weights) {
                        let values = &values[c * LANES..][..LANES];
                        for i in 0..LANES {
                            acc[i] = values[i].mul_add(w, acc[i]);
                        }
                    }
                    *chunk = acc;
                }
                for (values, &w) in values.chunks_exact(dim).zip(weights) {
                    for (out, &v) in rest.iter_mut().zip(&values[whole..]) {
                        *out = v.mul_add(w, *out);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against plain softmax attention in f64, over pages in any order, for a head size that is no multiple of
    /// the lanes.
    #[test]
    fn agrees_with_f64() {
        for dim in [8, 20, 64] {
            let shape = HeadShape { heads: 4, kv_heads: 2, head_dim: dim };
            let len = 2 * PAGE + 5;
            let pages = [2u32, 0, 3];
            let value = |a: usize, b: usize| ((a * 131 + b * 17 + 7) % 97) as f32 / 48.5 - 1.0;
            let mut k_layer = vec![f32::NAN; 4 * shape.page_size()];
            let mut v_layer = vec![0.5; 4 * shape.page_size()];
            for pos in 0..len {
                let k: Vec<f32> = (0..2 * dim).map(|i| value(pos, i)).collect();
                let v: Vec<f32> = (0..2 * dim).map(|i| value(i, pos + 3)).collect();
                let at = pages[pos / PAGE] as usize * shape.page_size();
                let range = at..at + shape.page_size();
                store(shape, pos % PAGE, &k, &v, &mut k_layer[range.clone()], &mut v_layer[range]);
            }
            let q: Vec<f32> = (0..2 * dim).map(|i| value(i, 5)).collect();
            for kv_head in 0..2 {
                let mut out = vec![0.0; 2 * dim];
                attend(shape, kv_head, &q, &pages, len, &k_layer, &v_layer, &mut Vec::new(), &mut out);
                for g in 0..2 {
                    let score = |pos: usize| -> f64 {
                        (0..dim)
                            .map(|d| f64::from(q[g * dim + d]) * f64::from(value(pos, kv_head * dim + d)))
                            .sum()
                    };
                    let max = (0..len).map(score).fold(f64::MIN, f64::max);
                    let total: f64 = (0..len).map(|p| (score(p) - max).exp()).sum();
                    for d in 0..dim {
                        let truth: f64 = (0..len)
                            .map(|p| {
                                (score(p) - max).exp() / total * f64::from(value(kv_head * dim + d, p + 3))
                            })
                            .sum();
                        let ours = f64::from(out[g * dim + d]);
                        assert!(
                            (ours - truth).abs() < 1e-5,
                            "dim {dim} head {kv_head}/{g}[{d}]: {ours} {truth}"
                        );
                    }
                }
            }
        }
    }
}
