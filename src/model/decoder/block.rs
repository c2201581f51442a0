//! The weights of a transformer block, as the kernels want them.

use crate::model::ModelError;
use crate::model::config::{self, NormKind, Residual};
use crate::model::cpu::packed::MatrixView;
use crate::model::cpu::{PackedMatrix, ops};
use crate::model::quant::quantise;
use crate::model::weights::{Net, Part, Role, Tensors};
use crate::team;

/// A transformer block.
pub(super) struct Block {
    pub attention_norm: Norm,
    pub heads: Heads,
    /// Norms of each head's query and key.
    pub head_norms: Option<[Vec<f32>; 2]>,
    pub o: Linear,
    pub post_attention_norm: Option<Norm>,
    /// `None` where the two halves share a norm.
    pub feed_forward_norm: Option<Norm>,
    pub feed_forward: FeedForward,
    pub post_feed_forward_norm: Option<Norm>,
}

/// What queries, keys and values are made by.
pub(super) enum Heads {
    Plain { q: Linear, k: Linear, v: Linear },
    Latent { q: Queries, kv_down: Linear, kv_norm: Vec<f32>, kv_up: Linear },
}

/// The queries of latent attention.
pub(super) enum Queries {
    Direct(Linear),
    Latent { down: Linear, norm: Vec<f32>, up: Linear },
}

/// The feed-forward half.
pub(super) enum FeedForward {
    Net(FeedForwardNet),
    Experts { router: Linear, experts: Vec<FeedForwardNet>, shared: Option<FeedForwardNet> },
}

/// One feed-forward net.
pub(super) struct FeedForwardNet {
    pub width: usize,
    pub gate: Option<Linear>,
    pub up: Linear,
    pub down: Linear,
}

/// Weights and bias of a norm.
pub(super) struct Norm {
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    eps: f32,
}

/// A linear layer.
pub(super) struct Linear {
    pub weight: PackedMatrix,
    pub bias: Option<Vec<f32>>,
}

impl Linear {
    pub fn load(
        t: Tensors<'_>,
        role: Role,
        layer: usize,
        rows: usize,
        cols: usize,
    ) -> Result<Self, ModelError> {
        let view = t.matrix(role, layer, rows, cols)?;
        // Experts are chosen by small differences.
        let target = t.quantise.filter(|_| view.dtype.block_size() == 1 && role != Role::Router);
        let weight = match target.and_then(|dtype| dtype.fitting(cols)) {
            None => PackedMatrix::pack(&view),
            Some(dtype) => PackedMatrix::pack(&MatrixView::new(dtype, rows, cols, &quantise(&view, dtype)?)),
        };
        t.source.release(&view);
        Ok(Self { weight, bias: t.bias(role, layer, rows)? })
    }

    /// Adds the bias to rows of results.
    pub fn add_bias(&self, rows: &mut [f32]) {
        if let Some(bias) = &self.bias {
            ops::add_bias(rows, bias);
        }
    }
}

impl Norm {
    pub fn load(t: Tensors<'_>, role: Role, layer: usize) -> Result<Self, ModelError> {
        let (config::Norm { kind, eps, offset }, hidden) = (t.config.norm, t.config.hidden);
        Ok(Self {
            weight: norm_weights(t, role, layer, hidden, offset)?,
            bias: match kind {
                NormKind::Rms => None,
                NormKind::Layer => Some(t.vector(role, layer, Part::Bias, hidden)?),
            },
            eps,
        })
    }

    /// Every row, shared among the threads.
    pub fn apply(&self, x: &[f32], out: &mut [f32]) {
        let size = super::rows_a_task(x.len() / self.weight.len()) * self.weight.len();
        let parts = x.chunks(size).zip(out.chunks_mut(size));
        team::each(parts, |(x, out)| match &self.bias {
            None => ops::rms_norm(x, &self.weight, self.eps, out),
            Some(bias) => ops::layer_norm(x, &self.weight, bias, self.eps, out),
        });
    }
}

fn norm_weights(
    t: Tensors<'_>,
    role: Role,
    layer: usize,
    len: usize,
    offset: f32,
) -> Result<Vec<f32>, ModelError> {
    let mut weights = t.vector(role, layer, Part::Weight, len)?;
    if offset != 0.0 {
        weights.iter_mut().for_each(|w| *w += offset);
    }
    Ok(weights)
}

impl FeedForwardNet {
    fn load(t: Tensors<'_>, layer: usize, net: Net, width: usize) -> Result<Self, ModelError> {
        let hidden = t.config.hidden;
        let gated = t.config.feed_forward.gated;
        Ok(Self {
            width,
            gate: gated.then(|| Linear::load(t, Role::Gate(net), layer, width, hidden)).transpose()?,
            up: Linear::load(t, Role::Up(net), layer, width, hidden)?,
            down: Linear::load(t, Role::Down(net), layer, hidden, width)?,
        })
    }

    fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.gate.iter().chain([&self.up, &self.down])
    }

    fn bytes(&self) -> usize {
        self.linears().map(|linear| linear.weight.bytes()).sum()
    }
}

impl Block {
    pub fn load(t: Tensors<'_>, layer: usize) -> Result<Self, ModelError> {
        let (config, hidden) = (t.config, t.config.hidden);
        let (attention, shape) = (&config.attention, config.attention.shape);
        let [q, k, v, out] = config.widths();
        let linear = |role, rows, cols| Linear::load(t, role, layer, rows, cols);
        let norm = |role| Norm::load(t, role, layer);
        let sandwich = config.residual == Residual::Sandwich;
        let head_norm = |role| norm_weights(t, role, layer, shape.head_dim, config.norm.offset);
        Ok(Self {
            attention_norm: norm(Role::AttentionNorm)?,
            heads: match attention.latent {
                None => Heads::Plain {
                    q: linear(Role::Q, q, hidden)?,
                    k: linear(Role::K, k, hidden)?,
                    v: linear(Role::V, v, hidden)?,
                },
                Some(latent) => Heads::Latent {
                    q: match latent.query_rank {
                        None => Queries::Direct(linear(Role::Q, q, hidden)?),
                        Some(rank) => Queries::Latent {
                            down: linear(Role::QDown, rank, hidden)?,
                            norm: norm_weights(t, Role::QDownNorm, layer, rank, 0.0)?,
                            up: linear(Role::QUp, q, rank)?,
                        },
                    },
                    kv_down: linear(Role::KvDown, latent.rank + latent.turned, hidden)?,
                    kv_norm: norm_weights(t, Role::KvDownNorm, layer, latent.rank, 0.0)?,
                    kv_up: linear(
                        Role::KvUp,
                        shape.heads * (shape.head_dim - latent.turned + shape.value_dim),
                        latent.rank,
                    )?,
                },
            },
            head_norms: match attention.head_norms {
                true => Some([head_norm(Role::QNorm)?, head_norm(Role::KNorm)?]),
                false => None,
            },
            o: linear(Role::O, hidden, out)?,
            post_attention_norm: sandwich.then(|| norm(Role::PostAttentionNorm)).transpose()?,
            feed_forward_norm: match config.residual {
                Residual::Parallel => None,
                _ => Some(norm(Role::FeedForwardNorm)?),
            },
            feed_forward: match config.experts_of(layer) {
                None => {
                    FeedForward::Net(FeedForwardNet::load(t, layer, Net::Whole, config.feed_forward.width)?)
                }
                Some(experts) => FeedForward::Experts {
                    router: linear(Role::Router, experts.count, hidden)?,
                    experts: (0..experts.count)
                        .map(|index| FeedForwardNet::load(t, layer, Net::Expert(index), experts.width))
                        .collect::<Result<_, _>>()?,
                    shared: match experts.shared_width {
                        0 => None,
                        width => Some(FeedForwardNet::load(t, layer, Net::Shared, width)?),
                    },
                },
            },
            post_feed_forward_norm: sandwich.then(|| norm(Role::PostFeedForwardNorm)).transpose()?,
        })
    }

    /// Bytes of weights that one row reads.
    pub fn bytes(&self, config: &config::ModelConfig) -> usize {
        let of = |linears: &[&Linear]| linears.iter().map(|linear| linear.weight.bytes()).sum::<usize>();
        let heads = match &self.heads {
            Heads::Plain { q, k, v } => of(&[q, k, v]),
            Heads::Latent { q, kv_down, kv_up, .. } => {
                of(&[kv_down, kv_up])
                    + match q {
                        Queries::Direct(q) => of(&[q]),
                        Queries::Latent { down, up, .. } => of(&[down, up]),
                    }
            }
        };
        let nets = match &self.feed_forward {
            FeedForward::Net(net) => net.bytes(),
            FeedForward::Experts { router, experts, shared } => {
                let used = config.feed_forward.experts.as_ref().map_or(0, |experts| experts.used);
                let all: usize = experts.iter().map(FeedForwardNet::bytes).sum();
                of(&[router]) + all / experts.len() * used + shared.as_ref().map_or(0, FeedForwardNet::bytes)
            }
        };
        heads + of(&[&self.o]) + nets
    }
}
