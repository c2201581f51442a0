//! The feed-forward half of a block: one net, or the experts that each row chooses.

use super::block::{FeedForward, FeedForwardNet};
use super::{Decoder, Scratch, rows_a_task};
use crate::model::config::{Activation, Experts, FeedForward as Kind};
use crate::model::cpu::matmul::{Product, matmul};
use crate::model::cpu::ops;
use crate::team;

/// What a net needs between its products.
#[derive(Default)]
pub(super) struct Inner {
    gate: Vec<f32>,
    up: Vec<f32>,
    /// Rows that an expert takes, and what it makes of them.
    taken: Vec<f32>,
    made: Vec<f32>,
    scores: Vec<f32>,
}

impl Decoder {
    /// What the feed-forward half of one block adds to the residual stream, for all rows, into `work.delta`; `work.normed`
    /// holds the rows behind the norm.
    pub(super) fn feed_forward(&mut self, layer: usize) {
        let (block, config, work) = (&self.blocks[layer], &self.config, &mut self.work);
        let (hidden, rows) = (config.hidden, work.rows.len());
        let kind = &config.feed_forward;
        let (inner, scratch) = (&mut work.inner, &mut work.scratch);
        work.delta.resize(rows * hidden, 0.0);
        match &block.feed_forward {
            FeedForward::Net(net) => apply(net, kind, &work.normed, rows, &mut work.delta, inner, scratch),
            FeedForward::Experts { router, experts, shared } => {
                let mixture = config.experts_of(layer).expect("blocks with experts have them");
                match shared {
                    Some(net) => apply(net, kind, &work.normed, rows, &mut work.delta, inner, scratch),
                    None => work.delta.fill(0.0),
                }
                let mut scores = std::mem::take(&mut inner.scores);
                scores.resize(rows * mixture.count, 0.0);
                let mut products = [Product { weights: &router.weight, out: &mut scores }];
                matmul(&work.normed, rows, &mut products, scratch);
                // The rows that each expert takes, with its weight for them.
                let mut takers = vec![Vec::new(); mixture.count];
                for (row, scores) in scores.chunks_exact_mut(mixture.count).enumerate() {
                    for (expert, weight) in choose(scores, mixture) {
                        takers[expert].push((row, weight));
                    }
                }
                inner.scores = scores;
                // One expert after the other, so that a row adds up its experts in their order whatever else is in the
                // batch.
                for (expert, takers) in experts.iter().zip(&takers) {
                    if takers.is_empty() {
                        continue;
                    }
                    let (mut taken, mut made) =
                        (std::mem::take(&mut inner.taken), std::mem::take(&mut inner.made));
                    taken.clear();
                    for (row, _) in takers {
                        taken.extend_from_slice(&work.normed[row * hidden..][..hidden]);
                    }
                    made.resize(taken.len(), 0.0);
                    apply(expert, kind, &taken, takers.len(), &mut made, inner, scratch);
                    for ((row, weight), made) in takers.iter().zip(made.chunks_exact(hidden)) {
                        ops::add_scaled(&mut work.delta[row * hidden..][..hidden], made, *weight);
                    }
                    (inner.taken, inner.made) = (taken, made);
                }
            }
        }
    }
}

/// The experts that a row takes, with their weights. Scores become probabilities in place.
fn choose(scores: &mut [f32], mixture: &Experts) -> Vec<(usize, f32)> {
    ops::log_softmax(scores);
    let mut order: Vec<usize> = (0..scores.len()).collect();
    // Equal scores: the earlier expert.
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    order.truncate(mixture.used);
    let probabilities: Vec<f32> = order.iter().map(|&i| ops::exp(scores[i])).collect();
    let sum: f32 = if mixture.normalised { probabilities.iter().sum() } else { 1.0 };
    order.into_iter().zip(probabilities).map(|(i, p)| (i, p / sum * mixture.scale)).collect()
}

/// `out ← down(act(gate(x)) · up(x))`, or `down(act(up(x)))`, for every row of `x`.
fn apply(
    net: &FeedForwardNet,
    kind: &Kind,
    x: &[f32],
    rows: usize,
    out: &mut [f32],
    inner: &mut Inner,
    scratch: &mut Scratch,
) {
    inner.up.resize(rows * net.width, 0.0);
    let size = rows_a_task(rows) * net.width;
    let activated = match &net.gate {
        Some(gate) => {
            inner.gate.resize(rows * net.width, 0.0);
            let mut products = [
                Product { weights: &gate.weight, out: &mut inner.gate },
                Product { weights: &net.up.weight, out: &mut inner.up },
            ];
            matmul(x, rows, &mut products, scratch);
            gate.add_bias(&mut inner.gate);
            net.up.add_bias(&mut inner.up);
            let parts = inner.gate.chunks_mut(size).zip(inner.up.chunks(size));
            team::each(parts, |(gate, up)| match kind.activation {
                Activation::Silu => ops::swiglu(gate, up),
                Activation::Gelu => ops::geglu(gate, up),
                Activation::GeluExact => ops::geglu_exact(gate, up),
            });
            &inner.gate
        }
        None => {
            matmul(x, rows, &mut [Product { weights: &net.up.weight, out: &mut inner.up }], scratch);
            net.up.add_bias(&mut inner.up);
            team::each(inner.up.chunks_mut(size), |up| match kind.activation {
                Activation::Silu => ops::silu(up),
                Activation::Gelu => ops::gelu(up),
                Activation::GeluExact => ops::gelu_exact(up),
            });
            &inner.up
        }
    };
    matmul(activated, rows, &mut [Product { weights: &net.down.weight, out }], scratch);
    net.down.add_bias(out);
}
