"""Tiny random checkpoints, laid out as published ones are, and their logits by Hugging Face transformers.

    python tiny.py [NAME …]   writes tiny/<name>/{config.json, model*.safetensors, golden.json, golden.bin}

Each covers one way in which published checkpoints differ (family, number type, tied head, biases, RoPE scaling,
windows, experts, shards). The truth is transformers' eager float32 forward over the stored weights upcast to float32.
`reference.py` must agree where it knows the family (`REFERENCED`); the other families have transformers alone.
"""

import json
import shutil
import sys
import zlib
from pathlib import Path

import reference  # first: it settles NumPy's threads
import numpy as np

HERE = Path(__file__).parent
VOCABULARY = 256
PROMPT_LENGTHS = (7, 20, 33)
# A query sees itself and the 7 positions before it: every prompt but the first is more than twice as long.
WINDOW = 8
# The families that reference.py computes too.
REFERENCED = ("llama", "qwen2")
# The families whose head is the embedding when config.json does not say.
TIED = ("gemma2", "gemma3_text", "gpt_bigcode", "starcoder2")

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 64,
    "initializer_range": 0.02,
    "intermediate_size": 128,
    "max_position_embeddings": 128,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "use_cache": True,
    "vocab_size": VOCABULARY,
}

QWEN2 = {
    "architectures": ["Qwen2ForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 64,
    "initializer_range": 0.02,
    "intermediate_size": 128,
    "max_position_embeddings": 128,
    "max_window_layers": 2,
    "model_type": "qwen2",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 128,
    "tie_word_embeddings": True,
    "torch_dtype": "float16",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": VOCABULARY,
}

QWEN3 = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "head_dim": 16,
    "hidden_act": "silu",
    "hidden_size": 32,
    "initializer_range": 0.02,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
    "max_window_layers": 2,
    "model_type": "qwen3",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": VOCABULARY,
}

QWEN3_MOE = {
    **QWEN3,
    "architectures": ["Qwen3MoeForCausalLM"],
    "decoder_sparse_step": 1,
    "intermediate_size": 96,
    "mlp_only_layers": [],
    "model_type": "qwen3_moe",
    "moe_intermediate_size": 32,
    "norm_topk_prob": True,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "output_router_logits": False,
    "qkv_bias": False,
    "rope_theta": 10000000,
    "router_aux_loss_coef": 0.0,
    "shared_expert_intermediate_size": 0,
    "tie_word_embeddings": False,
    "use_qk_norm": True,
}

STARCODER2 = {
    "architectures": ["Starcoder2ForCausalLM"],
    "attention_dropout": 0.1,
    "bos_token_id": 0,
    "embedding_dropout": 0.1,
    "eos_token_id": 0,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_size": 32,
    "initializer_range": 0.018042,
    "intermediate_size": 128,
    "max_position_embeddings": 128,
    "mlp_type": "default",
    "model_type": "starcoder2",
    "norm_epsilon": 1e-05,
    "norm_type": "layer_norm",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "residual_dropout": 0.1,
    "rope_theta": 999999.4420358813,
    "sliding_window": WINDOW,
    "torch_dtype": "float32",
    "use_bias": True,
    "use_cache": True,
    "vocab_size": VOCABULARY,
}

MISTRAL = {
    "architectures": ["MistralForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 32,
    "initializer_range": 0.02,
    "intermediate_size": 96,
    "max_position_embeddings": 128,
    "model_type": "mistral",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "sliding_window": WINDOW,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": VOCABULARY,
}

# The caps are far lower than published ones (50 and 30), so that they bend the small scores and logits of so small
# a model; the query scale is not the head's. √48, by which embeddings are multiplied, is no BF16 number.
GEMMA2 = {
    "architectures": ["Gemma2ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attn_logit_softcapping": 3.0,
    "bos_token_id": 2,
    "cache_implementation": "hybrid",
    "eos_token_id": 1,
    "final_logit_softcapping": 5.0,
    "head_dim": 16,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 48,
    "initializer_range": 0.02,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
    "model_type": "gemma2",
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "query_pre_attn_scalar": 24,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000.0,
    "sliding_window": WINDOW,
    "torch_dtype": "float32",
    "use_cache": True,
    "vocab_size": VOCABULARY,
}

GEMMA3 = {
    "architectures": ["Gemma3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attn_logit_softcapping": None,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "final_logit_softcapping": None,
    "head_dim": 16,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 48,
    "initializer_range": 0.02,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
    "model_type": "gemma3_text",
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
    "query_pre_attn_scalar": 4,
    "rms_norm_eps": 1e-06,
    "rope_local_base_freq": 10000.0,
    "rope_scaling": None,
    "rope_theta": 1000000.0,
    "sliding_window": WINDOW,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": VOCABULARY,
}

PHI3 = {
    "architectures": ["Phi3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "embd_pdrop": 0.0,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 32,
    "initializer_range": 0.02,
    "intermediate_size": 96,
    "max_position_embeddings": 128,
    "model_type": "phi3",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 4,
    "original_max_position_embeddings": 128,
    "pad_token_id": 2,
    "resid_pdrop": 0.0,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "sliding_window": WINDOW,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "use_cache": True,
    "vocab_size": VOCABULARY,
}

DEEPSEEK2 = {
    "architectures": ["DeepseekV2ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "aux_loss_alpha": 0.001,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "first_k_dense_replace": 1,
    "hidden_act": "silu",
    "hidden_size": 32,
    "initializer_range": 0.02,
    "intermediate_size": 96,
    "kv_lora_rank": 24,
    "max_position_embeddings": 20480,
    "model_type": "deepseek_v2",
    "moe_intermediate_size": 32,
    "moe_layer_freq": 1,
    "n_group": 1,
    "n_routed_experts": 8,
    "n_shared_experts": 2,
    "norm_topk_prob": False,
    "num_attention_heads": 4,
    "num_experts_per_tok": 3,
    "num_hidden_layers": 3,
    "num_key_value_heads": 4,
    "pretraining_tp": 1,
    "q_lora_rank": None,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16,
    "rms_norm_eps": 1e-06,
    "rope_scaling": {
        "beta_fast": 16,
        "beta_slow": 2,
        "factor": 40,
        "mscale": 0.707,
        "mscale_all_dim": 0.707,
        "original_max_position_embeddings": 512,
        "type": "yarn",
    },
    "rope_theta": 10000,
    "routed_scaling_factor": 1.0,
    "scoring_func": "softmax",
    "seq_aux": True,
    "tie_word_embeddings": False,
    "topk_group": 1,
    "topk_method": "greedy",
    "torch_dtype": "float32",
    "use_cache": True,
    "v_head_dim": 16,
    "vocab_size": VOCABULARY,
}

GPT_BIGCODE = {
    "activation_function": "gelu_pytorch_tanh",
    "architectures": ["GPTBigCodeForCausalLM"],
    "attention_softmax_in_fp32": True,
    "attn_pdrop": 0.1,
    "bos_token_id": 0,
    "embd_pdrop": 0.1,
    "eos_token_id": 0,
    "inference_runner": 0,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05,
    "max_batch_size": None,
    "max_sequence_length": None,
    "model_type": "gpt_bigcode",
    "multi_query": True,
    "n_embd": 32,
    "n_head": 4,
    "n_inner": 128,
    "n_layer": 2,
    "n_positions": 64,
    "pad_key_length": True,
    "pre_allocate_kv_cache": False,
    "resid_pdrop": 0.1,
    "scale_attention_softmax_in_fp32": True,
    "scale_attn_weights": True,
    "summary_activation": None,
    "summary_first_dropout": 0.1,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "torch_dtype": "float32",
    "use_cache": True,
    "validate_runner_input": True,
    "vocab_size": VOCABULARY,
}

CODEGEN = {
    "activation_function": "gelu_new",
    "architectures": ["CodeGenForCausalLM"],
    "attn_pdrop": 0.0,
    "bos_token_id": 1,
    "embd_pdrop": 0.0,
    "eos_token_id": 2,
    "gradient_checkpointing": False,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05,
    "model_type": "codegen",
    "n_ctx": 64,
    "n_embd": 64,
    "n_head": 8,
    "n_inner": None,
    "n_layer": 2,
    "n_positions": 64,
    "resid_pdrop": 0.0,
    "rotary_dim": 4,
    "scale_attn_weights": True,
    "summary_activation": None,
    "summary_first_dropout": 0.1,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50, "temperature": 1.0}},
    "tie_word_embeddings": False,
    "tokenizer_class": "GPT2Tokenizer",
    "torch_dtype": "float32",
    "use_cache": True,
    "vocab_size": VOCABULARY,
}

# name → (config, number of files)
CHECKPOINTS = {
    # As DeepSeek-Coder: positions divided by 4, own head. Narrow, to stay small in F32.
    "llama-linear-f32": (
        {
            **LLAMA,
            "hidden_size": 32,
            "intermediate_size": 96,
            "rope_theta": 100000,
            "rope_scaling": {"factor": 4.0, "type": "linear"},
        },
        1,
    ),
    # As Llama 3.2: explicit head_dim, tied head. The original length is short, so that all three bands
    # (kept, interpolated, slowed) show within the few positions tested.
    "llama3-tied-f32": (
        {
            **LLAMA,
            "head_dim": 16,
            "intermediate_size": 80,
            "rms_norm_eps": 1e-05,
            "rope_theta": 500000.0,
            "rope_scaling": {
                "factor": 8.0,
                "high_freq_factor": 4.0,
                "low_freq_factor": 1.0,
                "original_max_position_embeddings": 64,
                "rope_type": "llama3",
            },
            "tie_word_embeddings": True,
        },
        1,
    ),
    "qwen2-tied-f16": (QWEN2, 1),
    "llama-bf16": ({**LLAMA, "torch_dtype": "bfloat16"}, 1),
    "qwen2-sharded-bf16": ({**QWEN2, "tie_word_embeddings": False, "torch_dtype": "bfloat16"}, 2),
    # As Qwen3-0.6B: queries and keys normalised a head, heads wider than hidden size / heads, tied head.
    "qwen3-f32": (QWEN3, 1),
    "qwen3-bf16": ({**QWEN3, "torch_dtype": "bfloat16"}, 1),
    # As Qwen's advice for long contexts. The betas are YaRN's usual 32 and 1, so of 16 pairs the first is kept, the
    # second is half slowed, the rest is slowed by 4; cosine and sine are multiplied by 0.1 ln 4 + 1, at any length.
    "qwen3-yarn-f32": (
        {
            **QWEN3,
            "head_dim": 32,
            "rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 16, "rope_type": "yarn"},
        },
        1,
    ),
    # As Qwen3-Coder-30B-A3B: every layer's MLP is 8 experts, of which the 2 most probable share a weight of 1.
    "qwen3-moe-f32": (QWEN3_MOE, 1),
    # As StarCoder2-3B: LayerNorm, biases on every product, tied head without saying so, every layer windowed.
    "starcoder2-f32": (STARCODER2, 1),
    "starcoder2-bf16": ({**STARCODER2, "torch_dtype": "bfloat16"}, 1),
    # As Mistral-7B-v0.1: every layer windowed.
    "mistral-bf16": (MISTRAL, 1),
    # As Codestral and Devstral: no window, and (Devstral) heads wider than hidden size / heads.
    "mistral-full-bf16": (
        {**MISTRAL, "attention_dropout": 0.0, "head_dim": 16, "rope_theta": 1000000.0, "sliding_window": None},
        1,
    ),
    # As Gemma-2-2B: caps on scores and logits, norms before and after, layers 0 and 2 windowed.
    "gemma2-f32": (GEMMA2, 1),
    "gemma2-bf16": ({**GEMMA2, "torch_dtype": "bfloat16"}, 1),
    # As Gemma-3-270M: kinds of layer listed, windowed ones with the local base; queries and keys normalised a head.
    "gemma3-bf16": (
        {
            **GEMMA3,
            "_sliding_window_pattern": 6,
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
            "use_bidirectional_attention": False,
        },
        1,
    ),
    # As Gemma-3-1B (the last of every so many layers has no window; here of every two) with the scaling of the larger
    # models, which slows the layers without a window alone.
    "gemma3-linear-bf16": (
        {
            **GEMMA3,
            "cache_implementation": "hybrid",
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            "sliding_window_pattern": 2,
        },
        1,
    ),
    # As Phi-3-mini-4k: queries, keys and values in one matrix, gate and up in another, every layer windowed.
    "phi3-f32": (PHI3, 1),
    # As Phi-3's 128k models, with grouped queries as the medium one. What transformers does: a sequence of at most
    # original_max_position_embeddings tokens (here the prompt of 7) has each pair's step divided by short_factor, a
    # longer one (20 and 33) by long_factor, at all its positions, early ones too. A sequence that grows past the
    # original length while it is generated is computed anew from its start. In both cases cosine and sine are
    # multiplied by √(1 + ln(max / original) / ln original), here √(1 + ln 8 / ln 16); max is max_position_embeddings.
    "phi3-longrope-f32": (
        {
            **PHI3,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "original_max_position_embeddings": 16,
            "rope_scaling": {
                "long_factor": [1.05, 1.3, 1.9, 2.8, 4.2, 5.5, 6.8, 8.1],
                "short_factor": [1.0, 1.05, 1.1, 1.2, 1.35, 1.6, 1.9, 2.3],
                "type": "longrope",
            },
            "sliding_window": 262144,
        },
        1,
    ),
    # As DeepSeek-Coder-V2-Lite: keys and values from a narrow latent, one rotated key for all heads, pairs side by
    # side (0, 1), (2, 3) …; a plain MLP, then layers of 8 experts (3 taken, weights as the softmax gave them) and 2
    # shared ones. YaRN's original length and betas are such that, of 8 pairs, two are kept, two lie between, and
    # four are slowed by 40; the scores' scale is multiplied by (0.0707 ln 40 + 1)², cosine and sine by nothing.
    "deepseek2-f32": (DEEPSEEK2, 1),
    # As StarCoderBase-1B: learned positions, one head of keys and values for all, tied head without saying so.
    "gpt-bigcode-f32": (GPT_BIGCODE, 1),
    # As CodeGen-350M-mono: attention and MLP side by side under one norm, queries, values and keys of two heads at a
    # time in four blocks of one matrix, half of each head rotated (pairs side by side), own head with a bias.
    "codegen-f32": (CODEGEN, 1),
}


def shapes(config):
    """Every tensor of a checkpoint with its shape, in the order in which publishers list them."""
    family = {"codegen": codegen_shapes, "gpt_bigcode": gpt_bigcode_shapes}
    return family.get(config["model_type"], llama_shapes)(config)


def part(name, shape, bias=False):
    """The weight of one norm or product, and its bias if it has one."""
    yield name + ".weight", shape
    if bias:
        yield name + ".bias", shape[:1]


def llama_shapes(config):
    """Llama's names and those of the many families that follow it."""
    family, hidden = config["model_type"], config["hidden_size"]
    layer_norm = family == "starcoder2"
    yield from part("model.embed_tokens", (VOCABULARY, hidden))
    for n in range(config["num_hidden_layers"]):
        at = f"model.layers.{n}."
        yield from part(at + "input_layernorm", (hidden,), layer_norm)
        yield from attention_shapes(at + "self_attn.", config)
        yield from part(at + "post_attention_layernorm", (hidden,), layer_norm)
        if family in ("gemma2", "gemma3_text"):
            yield from part(at + "pre_feedforward_layernorm", (hidden,))
            yield from part(at + "post_feedforward_layernorm", (hidden,))
        yield from mlp_shapes(at + "mlp.", config, n)
    yield from part("model.norm", (hidden,), layer_norm)
    if not config.get("tie_word_embeddings", family in TIED):
        yield from part("lm_head", (VOCABULARY, hidden))


def attention_shapes(at, config):
    """The attention of one layer with Llama's names."""
    family, hidden, heads = config["model_type"], config["hidden_size"], config["num_attention_heads"]
    if family == "deepseek_v2":
        latent, plain = config["kv_lora_rank"], config["qk_nope_head_dim"]
        rotated, out = config["qk_rope_head_dim"], config["v_head_dim"]
        yield from part(at + "q_proj", (heads * (plain + rotated), hidden))
        yield from part(at + "kv_a_proj_with_mqa", (latent + rotated, hidden))
        yield from part(at + "kv_a_layernorm", (latent,))
        yield from part(at + "kv_b_proj", (heads * (plain + out), latent))
        yield from part(at + "o_proj", (hidden, heads * out))
        return
    dim = config.get("head_dim", hidden // heads)
    queries, keys = heads * dim, config["num_key_value_heads"] * dim
    if family == "phi3":
        yield from part(at + "qkv_proj", (queries + 2 * keys, hidden))
    else:
        for letter, width in (("q", queries), ("k", keys), ("v", keys)):
            yield from part(f"{at}{letter}_proj", (width, hidden), family in ("qwen2", "starcoder2"))
    yield from part(at + "o_proj", (hidden, queries), family == "starcoder2")
    if family in ("qwen3", "qwen3_moe", "gemma3_text"):
        yield from part(at + "q_norm", (dim,))
        yield from part(at + "k_norm", (dim,))


def mlp_shapes(at, config, layer):
    """The MLP of one layer with Llama's names: plain, or a router and its experts."""
    family, hidden, inner = config["model_type"], config["hidden_size"], config["intermediate_size"]
    if family == "starcoder2":
        yield from part(at + "c_fc", (inner, hidden), True)
        yield from part(at + "c_proj", (hidden, inner), True)
    elif family == "phi3":
        yield from part(at + "gate_up_proj", (2 * inner, hidden))
        yield from part(at + "down_proj", (hidden, inner))
    elif family == "qwen3_moe" or (family == "deepseek_v2" and layer >= config["first_k_dense_replace"]):
        experts, inner = config.get("num_experts") or config["n_routed_experts"], config["moe_intermediate_size"]
        yield from part(at + "gate", (experts, hidden))
        for n in range(experts):
            yield from gated_shapes(f"{at}experts.{n}.", hidden, inner)
        if family == "deepseek_v2":
            yield from gated_shapes(at + "shared_experts.", hidden, config["n_shared_experts"] * inner)
    else:
        yield from gated_shapes(at, hidden, inner)


def gated_shapes(at, hidden, inner):
    """A gated MLP, or one expert."""
    yield from part(at + "gate_proj", (inner, hidden))
    yield from part(at + "up_proj", (inner, hidden))
    yield from part(at + "down_proj", (hidden, inner))


def gpt_bigcode_shapes(config):
    """GPT-2's names; every norm and product has a bias. Keys and values are one head wide."""
    hidden, inner = config["n_embd"], config["n_inner"]
    yield from part("transformer.wte", (VOCABULARY, hidden))
    yield from part("transformer.wpe", (config["n_positions"], hidden))
    for n in range(config["n_layer"]):
        at = f"transformer.h.{n}."
        yield from part(at + "ln_1", (hidden,), True)
        yield from part(at + "attn.c_attn", (hidden + 2 * (hidden // config["n_head"]), hidden), True)
        yield from part(at + "attn.c_proj", (hidden, hidden), True)
        yield from part(at + "ln_2", (hidden,), True)
        yield from part(at + "mlp.c_fc", (inner, hidden), True)
        yield from part(at + "mlp.c_proj", (hidden, inner), True)
    yield from part("transformer.ln_f", (hidden,), True)


def codegen_shapes(config):
    """CodeGen's names: one norm a layer, biases everywhere but in the attention."""
    hidden = config["n_embd"]
    inner = config["n_inner"] or 4 * hidden
    yield from part("transformer.wte", (VOCABULARY, hidden))
    for n in range(config["n_layer"]):
        at = f"transformer.h.{n}."
        yield from part(at + "ln_1", (hidden,), True)
        yield from part(at + "attn.qkv_proj", (3 * hidden, hidden))
        yield from part(at + "attn.out_proj", (hidden, hidden))
        yield from part(at + "mlp.fc_in", (inner, hidden), True)
        yield from part(at + "mlp.fc_out", (hidden, inner), True)
    yield from part("transformer.ln_f", (hidden,), True)
    yield from part("lm_head", (VOCABULARY, hidden), True)


def values(rng, name, shape, family):
    """Random weights large enough that attention, biases, norms, experts and positions all move the logits."""
    gemma, module = family.startswith("gemma"), name.split(".")[-2]
    if name.endswith("bias"):
        return rng.normal(0, 0.5, shape)
    if module.endswith("norm") or module.startswith("ln_"):
        if gemma:  # stores what is to be added to 1
            return rng.uniform(-0.5, 0.5, shape)
        # A normalised query knows no gain but its norm's.
        return rng.uniform(1.0, 2.0, shape) if module in ("q_norm", "k_norm") else rng.uniform(0.5, 1.5, shape)
    if module in ("embed_tokens", "lm_head", "wte", "wpe"):
        return rng.normal(0, 0.3 if gemma else 0.4, shape)
    # Sharper attention than a fresh model has, or a wrong rotation would hardly show; and a router that decides.
    gains = {"q_proj": 1.6, "k_proj": 1.6, "qkv_proj": 1.6, "c_attn": 1.6, "gate": 2.0}
    return rng.normal(0, gains.get(module, 1.0) / np.sqrt(shape[-1]), shape)


def encode(array, kind):
    """The little-endian bytes of an array in a checkpoint's number type."""
    array = array.astype(np.float32)
    if kind == "bfloat16":
        bits = array.view(np.uint32)
        # Round to nearest, ties to even.
        return "BF16", ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
    if kind == "float16":
        return "F16", array.astype("<f2").tobytes()
    return "F32", array.astype("<f4").tobytes()


def write_safetensors(path, tensors):
    """Write {name: (dtype, shape, bytes)} as one `.safetensors` file."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(t[2] for t in tensors.values()))


def write_checkpoint(directory, config, files):
    """Random weights for `config`, split over `files` files with an index when there are several."""
    rng = np.random.default_rng(zlib.crc32(directory.name.encode()))
    tensors = {}
    for name, shape in shapes(config):
        dtype, data = encode(values(rng, name, shape, config["model_type"]), config["torch_dtype"])
        tensors[name] = (dtype, shape, data)
    (directory / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    if files == 1:
        write_safetensors(directory / "model.safetensors", tensors)
        return
    total = sum(len(t[2]) for t in tensors.values())
    names, weight_map, done = [f"model-{n + 1:05}-of-{files:05}.safetensors" for n in range(files)], {}, 0
    for name, (_, _, data) in tensors.items():
        weight_map[name] = names[min(files - 1, done * files // total)]
        done += len(data)
    for file in names:
        write_safetensors(directory / file, {k: v for k, v in tensors.items() if weight_map[k] == file})
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def by_transformers(directory, prompts):
    """Logits (positions, vocabulary) of each prompt by transformers in float32.

    Every tensor of the file must have found its place, and no place may have been left to chance. No router may be
    so undecided about its last expert that rounding could choose another.
    """
    import torch
    from transformers import AutoModelForCausalLM

    model, loading = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    if any(loading.values()):
        raise SystemExit(f"{directory.name}: transformers does not read it as published: {loading}")
    margins = [1.0]

    def note_margin(router, _, output):
        ordered = output[0].sort(dim=-1, descending=True).values
        margins.append(float((ordered[:, router.top_k - 1] - ordered[:, router.top_k]).min()))

    for name, module in model.named_modules():
        if name.endswith("mlp.gate"):
            module.register_forward_hook(note_margin)
    model.eval()
    with torch.no_grad():
        truth = [model(torch.tensor([prompt])).logits[0].numpy() for prompt in prompts]
    if min(margins) < 1e-3:
        raise SystemExit(f"{directory.name}: a router's choice hangs on {min(margins):.1e}")
    return truth


def by_reference(directory, prompts, truth):
    """How far the logits of reference.py are from the truth at most."""
    model = reference.load(directory)
    ours = [model.forward([prompt], [reference.Cache()])[0] for prompt in prompts]
    return max(float(np.abs(a - b).max()) for a, b in zip(ours, truth))


def main():
    import torch
    import transformers

    torch.set_num_threads(1)
    for name in sys.argv[1:] or CHECKPOINTS:
        config, files = CHECKPOINTS[name]
        directory = HERE / "tiny" / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        write_checkpoint(directory, config, files)
        rng = np.random.default_rng(zlib.crc32(b"prompts of " + name.encode()))
        prompts = [rng.integers(0, VOCABULARY, n).tolist() for n in PROMPT_LENGTHS]
        truth = by_transformers(directory, prompts)
        spread = float(np.std(np.concatenate(truth)))
        header = {
            "layout": "golden.bin: float32 little-endian, logits[prompt][position][vocabulary], prompts one after another",
            "made_by": f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, eager, float32",
            "vocabulary": VOCABULARY,
            "prompts": prompts,
            "logit_standard_deviation": round(spread, 6),
        }
        if config["model_type"] in REFERENCED:
            worst = by_reference(directory, prompts, truth)
            if worst > 1e-4 * spread:
                raise SystemExit(f"{name}: reference.py and transformers differ by {worst:.2e} (spread {spread:.2f})")
            header["reference_py_max_abs_difference"] = float(f"{worst:.2e}")
        (directory / "golden.bin").write_bytes(np.concatenate(truth).astype("<f4").tobytes())
        (directory / "golden.json").write_text(json.dumps(header, indent=1) + "\n")
        size = sum(f.stat().st_size for f in directory.glob("*.safetensors"))
        agreement = header.get("reference_py_max_abs_difference", "unknown")
        print(f"{name:<20} {size:>7} bytes, logits ±{spread:.2f}, difference from reference.py {agreement}")


if __name__ == "__main__":
    main()
