//! What the tensors of each family are called, and which rows of a fused one a projection is.

use super::Architecture;
use crate::model::config::ModelConfig;
use crate::model::cpu::packed::Rows;
use crate::model::weights::{Net, Part, Role};

/// How the tensors of a file are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// As Hugging Face's classes name them.
    HuggingFace,
    /// As llama.cpp's converters name them.
    Gguf,
    /// By their roles: weights made here.
    Roles,
}

/// A tensor, or some of its rows.
pub struct Place {
    /// Its name.
    pub tensor: String,
    /// The rows (of a vector: the elements); `None`: all.
    pub rows: Option<Rows>,
}

/// Parts in which CodeGen's fused projection was trained, each with its own queries, values and keys.
const CODEGEN_PARTS: usize = 4;

/// Where a tensor is found.
pub fn place(scheme: Scheme, config: &ModelConfig, role: Role, layer: usize, part: Part) -> Place {
    let suffix = if part == Part::Weight { "weight" } else { "bias" };
    let (stem, rows) = match scheme {
        Scheme::Roles => return Place { tensor: format!("{role:?}.{layer}.{part:?}"), rows: None },
        Scheme::HuggingFace => hugging_face(config, role, layer),
        Scheme::Gguf => gguf(config, role, layer),
    };
    Place { tensor: format!("{stem}.{suffix}"), rows }
}

/// Queries, keys or values one after the other in one matrix.
fn fused_heads(config: &ModelConfig, role: Role) -> Option<Rows> {
    let [q, k, ..] = config.widths();
    Some(Rows::from(match role {
        Role::Q => 0,
        Role::K => q,
        _ => q + k,
    }))
}

fn hugging_face(config: &ModelConfig, role: Role, layer: usize) -> (String, Option<Rows>) {
    use Architecture::{Codegen, Gemma2, Gemma3, GptBigcode, Phi3, Starcoder2};
    let architecture = config.architecture;
    if matches!(architecture, GptBigcode | Codegen) {
        return gpt(config, role, layer);
    }
    let is_gemma = matches!(architecture, Gemma2 | Gemma3);
    let (stem, rows) = match role {
        Role::Embedding => return ("model.embed_tokens".into(), None),
        Role::Positions => return ("model.embed_positions".into(), None),
        Role::OutputNorm => return ("model.norm".into(), None),
        Role::Output => return ("lm_head".into(), None),
        Role::Q | Role::K | Role::V if architecture == Phi3 => {
            ("self_attn.qkv_proj", fused_heads(config, role))
        }
        Role::Gate(_) if architecture == Phi3 => ("mlp.gate_up_proj", Some(Rows::from(0))),
        Role::Up(_) if architecture == Phi3 => {
            ("mlp.gate_up_proj", Some(Rows::from(config.feed_forward.width)))
        }
        Role::Up(_) if architecture == Starcoder2 => ("mlp.c_fc", None),
        Role::Down(_) if architecture == Starcoder2 => ("mlp.c_proj", None),
        Role::AttentionNorm => ("input_layernorm", None),
        Role::Q => ("self_attn.q_proj", None),
        Role::K => ("self_attn.k_proj", None),
        Role::V => ("self_attn.v_proj", None),
        Role::QNorm => ("self_attn.q_norm", None),
        Role::KNorm => ("self_attn.k_norm", None),
        Role::QDown => ("self_attn.q_a_proj", None),
        Role::QDownNorm => ("self_attn.q_a_layernorm", None),
        Role::QUp => ("self_attn.q_b_proj", None),
        Role::KvDown => ("self_attn.kv_a_proj_with_mqa", None),
        Role::KvDownNorm => ("self_attn.kv_a_layernorm", None),
        Role::KvUp => ("self_attn.kv_b_proj", None),
        Role::O => ("self_attn.o_proj", None),
        Role::PostAttentionNorm => ("post_attention_layernorm", None),
        Role::FeedForwardNorm if is_gemma => ("pre_feedforward_layernorm", None),
        Role::FeedForwardNorm => ("post_attention_layernorm", None),
        Role::PostFeedForwardNorm => ("post_feedforward_layernorm", None),
        Role::Router => ("mlp.gate", None),
        Role::Gate(net) => return (format!("model.layers.{layer}.mlp.{}gate_proj", within(net)), None),
        Role::Up(net) => return (format!("model.layers.{layer}.mlp.{}up_proj", within(net)), None),
        Role::Down(net) => return (format!("model.layers.{layer}.mlp.{}down_proj", within(net)), None),
    };
    (format!("model.layers.{layer}.{stem}"), rows)
}

fn within(net: Net) -> String {
    match net {
        Net::Whole => String::new(),
        Net::Expert(index) => format!("experts.{index}."),
        Net::Shared => "shared_experts.".into(),
    }
}

/// The names of GPT-2 and what came of it.
fn gpt(config: &ModelConfig, role: Role, layer: usize) -> (String, Option<Rows>) {
    let is_codegen = config.architecture == Architecture::Codegen;
    let shape = config.attention.shape;
    let (stem, rows) = match role {
        Role::Embedding => return ("transformer.wte".into(), None),
        Role::Positions => return ("transformer.wpe".into(), None),
        Role::OutputNorm => return ("transformer.ln_f".into(), None),
        Role::Output => return ("lm_head".into(), None),
        Role::AttentionNorm => ("ln_1", None),
        Role::Q | Role::K | Role::V if is_codegen => {
            let each = (shape.heads * shape.head_dim / CODEGEN_PARTS).max(1);
            let number = match role {
                Role::Q => 0,
                Role::V => 1,
                _ => 2,
            };
            ("attn.qkv_proj", Some(Rows::strided(number * each, each, 3 * each)))
        }
        Role::Q | Role::K | Role::V if shape.kv_heads == 1 => ("attn.c_attn", fused_heads(config, role)),
        Role::Q | Role::K | Role::V => {
            let each = shape.head_dim;
            let number = match role {
                Role::Q => 0,
                Role::K => 1,
                _ => 2,
            };
            ("attn.c_attn", Some(Rows::strided(number * each, each, 3 * each)))
        }
        Role::O => (if is_codegen { "attn.out_proj" } else { "attn.c_proj" }, None),
        Role::Up(_) => (if is_codegen { "mlp.fc_in" } else { "mlp.c_fc" }, None),
        Role::Down(_) => (if is_codegen { "mlp.fc_out" } else { "mlp.c_proj" }, None),
        Role::FeedForwardNorm => ("ln_2", None),
        // These families have no others.
        _ => ("none", None),
    };
    (format!("transformer.h.{layer}.{stem}"), rows)
}

fn gguf(config: &ModelConfig, role: Role, layer: usize) -> (String, Option<Rows>) {
    use Architecture::{GptBigcode, Phi3};
    let is_fused = matches!(config.architecture, Phi3 | GptBigcode);
    let ff = config.feed_forward.width;
    let of_net = |name: &str, net: Net, width: usize| match net {
        Net::Whole => (format!("ffn_{name}"), None),
        Net::Shared => (format!("ffn_{name}_shexp"), None),
        Net::Expert(index) => (format!("ffn_{name}_exps"), Some(Rows::from(index * width))),
    };
    let expert_width = config.feed_forward.experts.as_ref().map_or(0, |experts| experts.width);
    let (stem, rows) = match role {
        Role::Embedding => return ("token_embd".into(), None),
        Role::Positions => return ("position_embd".into(), None),
        Role::OutputNorm => return ("output_norm".into(), None),
        Role::Output => return ("output".into(), None),
        Role::Q | Role::K | Role::V if is_fused => ("attn_qkv".into(), fused_heads(config, role)),
        Role::Gate(_) if config.architecture == Phi3 => ("ffn_up".into(), Some(Rows::from(0))),
        Role::Up(_) if config.architecture == Phi3 => ("ffn_up".into(), Some(Rows::from(ff))),
        Role::Gate(net) => of_net("gate", net, expert_width),
        Role::Up(net) => of_net("up", net, expert_width),
        Role::Down(net) => of_net("down", net, config.hidden),
        other => (
            match other {
                Role::AttentionNorm => "attn_norm",
                Role::Q => "attn_q",
                Role::K => "attn_k",
                Role::V => "attn_v",
                Role::QNorm => "attn_q_norm",
                Role::KNorm => "attn_k_norm",
                Role::QDown => "attn_q_a",
                Role::QDownNorm => "attn_q_a_norm",
                Role::QUp => "attn_q_b",
                Role::KvDown => "attn_kv_a_mqa",
                Role::KvDownNorm => "attn_kv_a_norm",
                Role::KvUp => "attn_kv_b",
                Role::O => "attn_output",
                Role::PostAttentionNorm => "post_attention_norm",
                Role::PostFeedForwardNorm => "post_ffw_norm",
                Role::Router => "ffn_gate_inp",
                Role::FeedForwardNorm => "ffn_norm",
                _ => "none",
            }
            .into(),
            None,
        ),
    };
    (format!("blk.{layer}.{stem}"), rows)
}
