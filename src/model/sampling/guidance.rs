//! Classifier-free guidance between two distributions over the whole vocabulary.
//!
//! `log w = log p + γ (log(q + ε) − log(p + ε))`, normalised, where p is the plain stream and q the stream that
//! sees the execution signal (EG-CFG, arXiv 2506.10948; ε as in its public implementation). With ε = 0 this is
//! the bare `log p + γ (log q − log p)`. The ε matters for γ above 1: without it a token that both streams
//! find all but impossible wins when q finds it a little less so, as `(q / p)^γ` knows no bound.

use crate::model::cpu::ops;
use crate::model::cpu::simd::multiversion;
use crate::team;

/// Entries that one task mixes.
const PART: usize = 1 << 14;

multiversion! {
    fn mix_part(guidance: Guidance, p: &[f32], q: &[f32], out: &mut [f32]) {
        for (out, (&p, &q)) in out.iter_mut().zip(p.iter().zip(q)) {
            *out = guidance.entry(p, q);
        }
    }
}

/// The numbers of a mix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guidance {
    /// Guidance strength γ: 0 is exactly p, 1 exactly q, above 1 extrapolates.
    pub gamma: f32,
    /// Added to both probabilities in their ratio; 0 for the bare formula.
    pub epsilon: f32,
}

impl Guidance {
    /// Mixes normalised log-probabilities over a vocabulary; the result is normalised. It is one of the two streams
    /// itself, or stands in `buffer`.
    pub fn mix<'a>(&self, p: &'a [f32], q: &'a [f32], buffer: &'a mut Vec<f32>) -> &'a [f32] {
        if self.gamma == 0.0 {
            return p;
        }
        if self.gamma == 1.0 {
            return q;
        }
        buffer.resize(p.len(), 0.0);
        let parts = buffer.chunks_mut(PART).zip(p.chunks(PART).zip(q.chunks(PART)));
        team::each(parts, |(out, (p, q))| mix_part(*self, p, q, out));
        ops::log_softmax(buffer);
        buffer
    }

    /// One entry of the mix, not normalised. Replay uses it to derive a decision again.
    #[inline(always)]
    pub fn entry(&self, p: f32, q: f32) -> f32 {
        match self.gamma {
            0.0 => p,
            1.0 => q,
            gamma if self.epsilon > 0.0 => {
                let ratio = (ops::exp(q) + self.epsilon) / (ops::exp(p) + self.epsilon);
                gamma.mul_add(ops::ln(ratio), p)
            }
            gamma => gamma.mul_add(q - p, p),
        }
    }
}
