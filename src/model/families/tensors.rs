//! All tensors of a model, with their shapes.

use crate::model::config::{ModelConfig, NormKind, Positions, Residual};
use crate::model::weights::{Net, Part, Role};

/// A tensor of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tensor {
    /// What it is for.
    pub role: Role,
    /// The block that it belongs to.
    pub layer: usize,
    /// Weight or bias.
    pub part: Part,
    /// Output channels; 1 for a vector.
    pub rows: usize,
    /// Input channels, or the length of a vector.
    pub cols: usize,
}

/// Every tensor that a decoder loads, in the order of loading. Biases that only some files of a family have are not listed.
pub fn tensors(config: &ModelConfig) -> Vec<Tensor> {
    let mut list = List { config, layer: 0, tensors: Vec::new() };
    list.matrix(Role::Embedding, config.vocab, config.hidden, false);
    if config.attention.positions == Positions::Learned {
        list.matrix(Role::Positions, config.context, config.hidden, false);
    }
    for layer in 0..config.layers {
        list.layer = layer;
        list.attention();
        list.feed_forward(layer);
    }
    list.layer = 0;
    list.norm(Role::OutputNorm);
    if !config.tied {
        list.matrix(Role::Output, config.vocab, config.hidden, config.biases.output);
    }
    list.tensors
}

/// Weights of the blocks' matrices that one row is multiplied with: of the experts, those it takes.
pub fn weights_of_a_row(config: &ModelConfig) -> usize {
    let weights = |tensor: &Tensor| match tensor.role {
        Role::Embedding | Role::Positions | Role::Output => 0,
        _ if tensor.rows == 1 => 0,
        Role::Gate(Net::Expert(index)) | Role::Up(Net::Expert(index)) | Role::Down(Net::Expert(index)) => {
            let used = config.feed_forward.experts.as_ref().map_or(0, |experts| experts.used);
            if index < used { tensor.rows * tensor.cols } else { 0 }
        }
        _ => tensor.rows * tensor.cols,
    };
    tensors(config).iter().map(weights).sum()
}

/// All numbers of a model.
pub fn parameters(config: &ModelConfig) -> usize {
    tensors(config).iter().map(|tensor| tensor.rows * tensor.cols).sum()
}

struct List<'a> {
    config: &'a ModelConfig,
    layer: usize,
    tensors: Vec<Tensor>,
}

impl List<'_> {
    fn vector(&mut self, role: Role, part: Part, len: usize) {
        self.tensors.push(Tensor { role, layer: self.layer, part, rows: 1, cols: len });
    }

    fn matrix(&mut self, role: Role, rows: usize, cols: usize, has_bias: bool) {
        self.tensors.push(Tensor { role, layer: self.layer, part: Part::Weight, rows, cols });
        if has_bias {
            self.vector(role, Part::Bias, rows);
        }
    }

    fn norm(&mut self, role: Role) {
        self.vector(role, Part::Weight, self.config.hidden);
        if self.config.norm.kind == NormKind::Layer {
            self.vector(role, Part::Bias, self.config.hidden);
        }
    }

    fn attention(&mut self) {
        let (config, hidden) = (self.config, self.config.hidden);
        let (attention, biases) = (&config.attention, config.biases);
        let (shape, [q, k, v, out]) = (attention.shape, config.widths());
        self.norm(Role::AttentionNorm);
        match attention.latent {
            None => {
                for (role, width) in [(Role::Q, q), (Role::K, k), (Role::V, v)] {
                    self.matrix(role, width, hidden, biases.heads);
                }
            }
            Some(latent) => {
                match latent.query_rank {
                    None => self.matrix(Role::Q, q, hidden, false),
                    Some(rank) => {
                        self.matrix(Role::QDown, rank, hidden, false);
                        self.vector(Role::QDownNorm, Part::Weight, rank);
                        self.matrix(Role::QUp, q, rank, false);
                    }
                }
                self.matrix(Role::KvDown, latent.rank + latent.turned, hidden, false);
                self.vector(Role::KvDownNorm, Part::Weight, latent.rank);
                let still = shape.head_dim - latent.turned;
                self.matrix(Role::KvUp, shape.heads * (still + shape.value_dim), latent.rank, false);
            }
        }
        if attention.head_norms {
            self.vector(Role::QNorm, Part::Weight, shape.head_dim);
            self.vector(Role::KNorm, Part::Weight, shape.head_dim);
        }
        self.matrix(Role::O, hidden, out, biases.attention_out);
        if config.residual == Residual::Sandwich {
            self.norm(Role::PostAttentionNorm);
        }
    }

    fn feed_forward(&mut self, layer: usize) {
        let config = self.config;
        if config.residual != Residual::Parallel {
            self.norm(Role::FeedForwardNorm);
        }
        match config.experts_of(layer) {
            None => self.net(Net::Whole, config.feed_forward.width),
            Some(experts) => {
                self.matrix(Role::Router, experts.count, config.hidden, false);
                for index in 0..experts.count {
                    self.net(Net::Expert(index), experts.width);
                }
                if experts.shared_width > 0 {
                    self.net(Net::Shared, experts.shared_width);
                }
            }
        }
        if config.residual == Residual::Sandwich {
            self.norm(Role::PostFeedForwardNorm);
        }
    }

    fn net(&mut self, net: Net, width: usize) {
        let (hidden, bias) = (self.config.hidden, self.config.biases.feed_forward);
        if self.config.feed_forward.gated {
            self.matrix(Role::Gate(net), width, hidden, bias);
        }
        self.matrix(Role::Up(net), width, hidden, bias);
        self.matrix(Role::Down(net), hidden, width, bias);
    }
}
