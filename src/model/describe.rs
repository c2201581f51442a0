//! What a model is, as figures: from its configuration alone, so that it can be told of models that fit in no memory.

use serde::Serialize;

use super::config::{Activation, Experts, ModelConfig, Positions};
use super::families::{parameters, weights_of_a_row};
use super::rope::{Rope, RopeScaling};

/// A model's sizes and variations.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Description {
    /// Family, as `config.json` calls it.
    pub architecture: &'static str,
    /// All numbers of the model. An embedding table that is the output projection too counts once; biases that only some files
    /// of a family have are not counted.
    pub parameters: usize,
    /// Of a mixture of experts, the weights of the blocks' matrices that one token is multiplied with: the experts that it
    /// takes, attention, router and shared net. Embeddings, output projection, norms and biases are not counted.
    pub active_parameters: Option<usize>,
    /// Blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Query heads.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Elements of a query and of a key.
    pub head_size: usize,
    /// Elements of a value.
    pub value_size: usize,
    /// Width of the vector that keys and values are made of (DeepSeek-V2).
    pub latent_size: Option<usize>,
    /// The feed-forward half.
    pub feed_forward: FeedForward,
    /// Rows of the embedding table, padding included.
    pub vocabulary: usize,
    /// The output projection is the embedding table.
    pub tied_embeddings: bool,
    /// Positions the model was made for.
    pub context: usize,
    /// The rotary embedding; `None`: a learned vector for each position.
    pub rotary: Option<Rotary>,
    /// The same of local layers, where they have another one.
    pub local_rotary: Option<Rotary>,
    /// Layers that see only the last positions.
    pub sliding_window: Option<Window>,
    /// Attention scores are bent to stay within this.
    pub score_cap: Option<f32>,
    /// Logits are bent to stay within this.
    pub logit_cap: Option<f32>,
    /// Bytes of keys and values a token on a processor, where they are f32.
    pub kv_bytes_per_token: usize,
    /// The same on a GPU, where they are bf16; `None`: it does not run there.
    pub kv_bytes_per_token_gpu: Option<usize>,
    /// What the kernels for GPUs have not; `None`: it runs there.
    pub missing_on_gpu: Option<&'static str>,
}

/// The feed-forward half of a block.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeedForward {
    /// Width inside, of layers without experts.
    pub width: usize,
    /// Whether one projection is multiplied with another.
    pub gated: bool,
    /// Its nonlinearity.
    pub activation: &'static str,
    /// The experts, where there are any.
    pub experts: Option<ExpertSizes>,
}

/// A mixture of experts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExpertSizes {
    /// How many a layer has.
    pub count: usize,
    /// How many a token takes.
    pub used: usize,
    /// Width inside each.
    pub width: usize,
    /// Width of the net that every token takes besides; 0: there is none.
    pub shared_width: usize,
    /// Layers that have experts.
    pub layers: usize,
}

/// A rotary embedding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rotary {
    /// Base of the frequencies.
    pub theta: f32,
    /// Elements of a head that turn.
    pub turned: usize,
    /// How it is stretched for longer contexts: `linear`, `llama3`, `yarn`, `factors`, `longrope`.
    pub scaling: Option<&'static str>,
    /// By how much, where that is one number.
    pub factor: Option<f32>,
    /// The context before it was stretched, where the files say it.
    pub original_context: Option<usize>,
}

/// A sliding window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Window {
    /// Positions that a local layer sees, its own included.
    pub positions: usize,
    /// Local layers.
    pub layers: usize,
}

impl Description {
    /// Describes a model.
    pub fn new(config: &ModelConfig) -> Self {
        let attention = &config.attention;
        let (rotary, local_rotary) = match &attention.positions {
            Positions::Learned => (None, None),
            Positions::Rotary { global, local } => {
                (Some(Rotary::new(global)), local.as_ref().map(Rotary::new))
            }
        };
        let local = attention.local.iter().filter(|local| **local).count();
        let kv_bytes = config.kv_bytes_per_token();
        let missing_on_gpu = config.peculiarity();
        Self {
            architecture: config.architecture.name(),
            parameters: parameters(config),
            active_parameters: config.feed_forward.experts.as_ref().map(|_| weights_of_a_row(config)),
            layers: config.layers,
            hidden_size: config.hidden,
            heads: attention.shape.heads,
            kv_heads: attention.shape.kv_heads,
            head_size: attention.shape.head_dim,
            value_size: attention.shape.value_dim,
            latent_size: attention.latent.map(|latent| latent.rank),
            feed_forward: FeedForward {
                width: config.feed_forward.width,
                gated: config.feed_forward.gated,
                activation: match config.feed_forward.activation {
                    Activation::Silu => "silu",
                    Activation::Gelu => "gelu (tanh)",
                    Activation::GeluExact => "gelu",
                },
                experts: config.feed_forward.experts.as_ref().map(ExpertSizes::new),
            },
            vocabulary: config.vocab,
            tied_embeddings: config.tied,
            context: config.context,
            rotary,
            local_rotary,
            sliding_window: attention
                .window
                .filter(|_| local > 0)
                .map(|positions| Window { positions, layers: local }),
            score_cap: attention.cap,
            logit_cap: config.logit_cap,
            kv_bytes_per_token: kv_bytes,
            kv_bytes_per_token_gpu: missing_on_gpu.is_none().then_some(kv_bytes / 2),
            missing_on_gpu,
        }
    }
}

impl ExpertSizes {
    fn new(experts: &Experts) -> Self {
        Self {
            count: experts.count,
            used: experts.used,
            width: experts.width,
            shared_width: experts.shared_width,
            layers: experts.layers.iter().filter(|has| **has).count(),
        }
    }
}

impl Rotary {
    fn new(rope: &Rope) -> Self {
        let (scaling, factor, original_context) = match &rope.scaling {
            RopeScaling::None => (None, None, None),
            RopeScaling::Linear(factor) => (Some("linear"), Some(*factor), None),
            RopeScaling::Llama3 { factor, original_context, .. } => {
                (Some("llama3"), Some(*factor), Some(*original_context as usize))
            }
            RopeScaling::Yarn { factor, original_context, .. } => {
                (Some("yarn"), Some(*factor), Some(*original_context as usize))
            }
            RopeScaling::Factors(_) => (Some("factors"), None, None),
            RopeScaling::Long { original_context, .. } => (Some("longrope"), None, Some(*original_context)),
        };
        Self { theta: rope.theta, turned: rope.dims, scaling, factor, original_context }
    }
}
