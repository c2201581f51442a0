//! What a decoder must know about a model: its sizes, and which of the variations that our blocks have it uses.
//!
//! [`super::families`] fills this in, from GGUF metadata or from a Hugging Face `config.json`; nothing after it asks
//! again which model it is.

use super::ModelError;
use super::cpu::attention::HeadShape;
use super::families::Architecture;
use super::rope::Rope;

/// A decoder's hyperparameters.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Family.
    pub architecture: Architecture,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Transformer blocks.
    pub layers: usize,
    /// Size of the vocabulary, padding included.
    pub vocab: usize,
    /// Positions the model was made for.
    pub context: usize,
    /// The output projection is the embedding table.
    pub tied: bool,
    /// What embeddings are multiplied with.
    pub embedding_scale: f32,
    /// Logits are bent to stay within this: `cap · tanh(logit / cap)`.
    pub logit_cap: Option<f32>,
    /// The norms.
    pub norm: Norm,
    /// How a block's two halves and their norms are joined.
    pub residual: Residual,
    /// Attention.
    pub attention: Attention,
    /// The feed-forward half of a block.
    pub feed_forward: FeedForward,
    /// Which linear layers have biases for certain; others may have them in the file.
    pub biases: Biases,
}

/// A norm before (and after) a block's halves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norm {
    /// Its kind.
    pub kind: NormKind,
    /// Added to the mean square.
    pub eps: f32,
    /// Added to the weights as they are in the file (Gemma's are stored less one).
    pub offset: f32,
}

/// Kinds of norms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// By the root of the mean square.
    Rms,
    /// By mean and standard deviation, with a bias.
    Layer,
}

/// How a block's halves are joined; `x` is the residual stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residual {
    /// `x += attention(norm(x))`, then `x += feed_forward(norm(x))`.
    Sequential,
    /// The same with another norm behind each half, before it is added.
    Sandwich,
    /// `x += attention(norm(x)) + feed_forward(norm(x))`, with one norm.
    Parallel,
}

/// Attention of every block.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    /// Heads.
    pub shape: HeadShape,
    /// What scores are multiplied with.
    pub scale: f32,
    /// Scores are bent to stay within this: `cap · tanh(score / cap)`.
    pub cap: Option<f32>,
    /// Queries and keys of each head go through an RMS norm.
    pub head_norms: bool,
    /// The positions that local layers see: the last `window`, their own included.
    pub window: Option<usize>,
    /// Which layers are local; the others see everything.
    pub local: Vec<bool>,
    /// How positions are told apart.
    pub positions: Positions,
    /// Keys and values come from a small vector that all heads share.
    pub latent: Option<Latent>,
}

/// How a model tells positions apart.
#[derive(Debug, Clone, PartialEq)]
pub enum Positions {
    /// A vector for each, added to the embedding.
    Learned,
    /// Queries and keys are turned; local layers may turn them otherwise.
    Rotary {
        /// Of all layers, or of those that are not local.
        global: Rope,
        /// Of local layers.
        local: Option<Rope>,
    },
}

/// Multi-head latent attention (DeepSeek-V2). A head's first dimensions come from the latent vector, the last ones, which
/// turn, are the same for all heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latent {
    /// Width of the vector that keys and values are made of.
    pub rank: usize,
    /// Width of the vector that queries are made of; `None`: of the residual stream.
    pub query_rank: Option<usize>,
    /// Dimensions of a head that turn.
    pub turned: usize,
}

/// The feed-forward half.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedForward {
    /// Width inside, of layers without experts.
    pub width: usize,
    /// Whether the activation of one projection is multiplied with another projection.
    pub gated: bool,
    /// Its nonlinearity.
    pub activation: Activation,
    /// The experts, where there are any.
    pub experts: Option<Experts>,
}

/// Nonlinearities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x · sigmoid(x)`.
    Silu,
    /// The Gaussian error linear unit in its tanh form.
    Gelu,
    /// The same in its exact form.
    GeluExact,
}

impl Activation {
    /// By the names of `config.json`.
    pub fn from_name(name: &str) -> Result<Self, ModelError> {
        match name {
            "silu" | "swish" => Ok(Self::Silu),
            "gelu_pytorch_tanh" | "gelu_new" | "gelu_fast" => Ok(Self::Gelu),
            "gelu" => Ok(Self::GeluExact),
            other => Err(ModelError::Unsupported(format!("activation `{other}`"))),
        }
    }
}

/// A mixture of experts: feed-forward nets of which a row takes some.
#[derive(Debug, Clone, PartialEq)]
pub struct Experts {
    /// How many there are.
    pub count: usize,
    /// How many a row takes.
    pub used: usize,
    /// Width inside each.
    pub width: usize,
    /// Width of the net that every row takes besides; 0: there is none.
    pub shared_width: usize,
    /// Weights of the chosen ones are divided by their sum.
    pub normalised: bool,
    /// What their weights are multiplied with.
    pub scale: f32,
    /// Which layers have experts.
    pub layers: Vec<bool>,
}

/// Which linear layers have biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Biases {
    /// Queries, keys, values.
    pub heads: bool,
    /// Attention's output projection.
    pub attention_out: bool,
    /// The feed-forward projections.
    pub feed_forward: bool,
    /// The output projection.
    pub output: bool,
}

impl ModelConfig {
    /// Bytes of keys and values a position takes (f32).
    pub fn kv_bytes_per_token(&self) -> usize {
        let s = self.attention.shape;
        4 * self.layers * s.kv_heads * (s.head_dim + s.value_dim)
    }

    /// Width of all queries, of all keys, of all values, of what attention returns.
    pub fn widths(&self) -> [usize; 4] {
        let s = self.attention.shape;
        [s.heads * s.head_dim, s.kv_heads * s.head_dim, s.kv_heads * s.value_dim, s.heads * s.value_dim]
    }

    /// The experts of a layer, if it has any.
    pub fn experts_of(&self, layer: usize) -> Option<&Experts> {
        self.feed_forward.experts.as_ref().filter(|experts| experts.layers[layer])
    }

    /// The positions that a layer sees at most.
    pub fn window_of(&self, layer: usize) -> Option<usize> {
        self.attention.window.filter(|_| self.attention.local[layer])
    }

    /// The rotary embedding of a layer.
    pub fn rope_of(&self, layer: usize) -> Option<&Rope> {
        match &self.attention.positions {
            Positions::Learned => None,
            Positions::Rotary { global, local } => {
                Some(local.as_ref().filter(|_| self.attention.local[layer]).unwrap_or(global))
            }
        }
    }

    /// The rotary embedding, of a model whose layers all have the same.
    pub fn rope(&self) -> Option<&Rope> {
        match &self.attention.positions {
            Positions::Rotary { global, local: None } => Some(global),
            _ => None,
        }
    }

    /// The same model with its first `layers` layers only.
    pub fn cut(mut self, layers: usize) -> Self {
        self.layers = layers;
        self.attention.local.resize(layers, false);
        if let Some(experts) = &mut self.feed_forward.experts {
            experts.layers.resize(layers, true);
        }
        self
    }

    /// What a model has that the plainest one (Llama, Qwen2) has not; `None` if it has nothing of that.
    pub fn peculiarity(&self) -> Option<&'static str> {
        let (attention, feed_forward) = (&self.attention, &self.feed_forward);
        let found = [
            (self.norm.kind != NormKind::Rms, "layer norms"),
            (self.norm.offset != 0.0, "norms with an offset"),
            (self.residual != Residual::Sequential, "another order of norms and halves"),
            (self.embedding_scale != 1.0, "scaled embeddings"),
            (self.logit_cap.is_some() || attention.cap.is_some(), "soft caps"),
            (attention.head_norms, "norms of queries and keys"),
            (attention.window.is_some_and(|w| w < self.context), "sliding windows"),
            (attention.latent.is_some(), "latent attention"),
            (
                self.rope().is_none_or(|rope| rope.dims != attention.shape.head_dim || rope.first != 0),
                "partly turned heads",
            ),
            (!feed_forward.gated || feed_forward.activation != Activation::Silu, "another feed-forward net"),
            (feed_forward.experts.is_some(), "experts"),
            (self.biases.output, "a bias of the logits"),
        ];
        found.into_iter().find(|(has, _)| *has).map(|(_, what)| what)
    }

    /// Refuses sizes that cannot be a model's, before anything is allocated for them.
    pub fn check(&self) -> Result<(), ModelError> {
        let wrong = |what: String| Err(ModelError::Config(what));
        let s = self.attention.shape;
        let mut sizes = vec![
            ("hidden size", self.hidden),
            ("number of layers", self.layers),
            ("number of heads", s.heads),
            ("number of key-value heads", s.kv_heads),
            ("head size", s.head_dim),
            ("value size of a head", s.value_dim),
            ("feed-forward size", self.feed_forward.width),
            ("vocabulary size", self.vocab),
            ("context length", self.context),
        ];
        if let Some(experts) = &self.feed_forward.experts {
            sizes.push(("number of experts", experts.count));
            sizes.push(("number of experts a token", experts.used));
            sizes.push(("width of an expert", experts.width));
            if experts.count.saturating_mul(self.layers) > 1 << 20 {
                return wrong(format!("{} experts in {} layers", experts.count, self.layers));
            }
            if experts.used > experts.count {
                return wrong(format!("{} of {} experts a token", experts.used, experts.count));
            }
        }
        if let Some(latent) = &self.attention.latent {
            sizes.push(("rank of keys and values", latent.rank));
            sizes.push(("rank of queries", latent.query_rank.unwrap_or(1)));
            sizes.push(("turned part of a head", latent.turned));
            if latent.turned >= s.head_dim {
                return wrong(format!("{} turned dimensions of a head of {}", latent.turned, s.head_dim));
            }
        }
        for (name, size) in sizes {
            if size == 0 || size > 1 << 24 {
                return wrong(format!("{name} is {size}"));
            }
        }
        let experts = self.feed_forward.experts.as_ref();
        if self.attention.local.len() != self.layers || experts.is_some_and(|e| e.layers.len() != self.layers)
        {
            return wrong(format!("layers are described that are not among the {}", self.layers));
        }
        if !s.heads.is_multiple_of(s.kv_heads) {
            return wrong(format!("{} attention heads cannot share {} key-value heads", s.heads, s.kv_heads));
        }
        if self.attention.window == Some(0) {
            return wrong("sliding_window is 0".into());
        }
        let rotary = match &self.attention.positions {
            Positions::Learned => vec![],
            Positions::Rotary { global, local } => {
                [Some(global), local.as_ref()].into_iter().flatten().collect()
            }
        };
        for rope in rotary {
            rope.check(s.head_dim)?;
        }
        let sensible = |x: f32| x.is_finite() && x > 0.0;
        if !(self.norm.eps.is_finite() && self.norm.eps >= 0.0) {
            return wrong(format!("epsilon of the norms is {}", self.norm.eps));
        }
        for (name, value) in [
            ("attention scale", self.attention.scale),
            ("embedding scale", self.embedding_scale),
            ("soft cap of scores", self.attention.cap.unwrap_or(1.0)),
            ("soft cap of logits", self.logit_cap.unwrap_or(1.0)),
        ] {
            if !sensible(value) {
                return wrong(format!("{name} is {value}"));
            }
        }
        Ok(())
    }
}
