"""Tiny random checkpoints, laid out as published ones are, and their logits by Hugging Face transformers.

    python tiny.py            writes tiny/<name>/{config.json, model*.safetensors, golden.json, golden.bin}

Each covers one way in which published checkpoints differ (number type, tied head, biases, RoPE scaling, shards).
The truth is transformers' eager float32 forward over the stored weights upcast to float32; `reference.py` must agree.
"""

import json
import shutil
import zlib
from pathlib import Path

import reference  # first: it settles NumPy's threads
import numpy as np

HERE = Path(__file__).parent
VOCABULARY = 256
PROMPT_LENGTHS = (7, 20, 33)

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
}


def shapes(config):
    """Every tensor of a checkpoint with its shape, in the order in which publishers list them."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    dim = config.get("head_dim", hidden // config["num_attention_heads"])
    queries, keys = config["num_attention_heads"] * dim, config["num_key_value_heads"] * dim
    yield "model.embed_tokens.weight", (VOCABULARY, hidden)
    for n in range(config["num_hidden_layers"]):
        at = f"model.layers.{n}."
        yield at + "input_layernorm.weight", (hidden,)
        for part, width in (("q", queries), ("k", keys), ("v", keys)):
            yield f"{at}self_attn.{part}_proj.weight", (width, hidden)
            if config["model_type"] == "qwen2":
                yield f"{at}self_attn.{part}_proj.bias", (width,)
        yield at + "self_attn.o_proj.weight", (hidden, queries)
        yield at + "post_attention_layernorm.weight", (hidden,)
        yield at + "mlp.gate_proj.weight", (inner, hidden)
        yield at + "mlp.up_proj.weight", (inner, hidden)
        yield at + "mlp.down_proj.weight", (hidden, inner)
    yield "model.norm.weight", (hidden,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (VOCABULARY, hidden)


def values(rng, name, shape):
    """Random weights large enough that attention, biases and positions all move the logits."""
    if name.endswith("norm.weight"):
        return rng.uniform(0.5, 1.5, shape)
    if name.endswith("bias"):
        return rng.normal(0, 0.5, shape)
    if "embed_tokens" in name or "lm_head" in name:
        return rng.normal(0, 0.4, shape)
    # Sharper attention than a fresh model has, or a wrong rotation would hardly show.
    gain = 1.6 if "q_proj" in name or "k_proj" in name else 1.0
    return rng.normal(0, gain / np.sqrt(shape[-1]), shape)


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
        dtype, data = encode(values(rng, name, shape), config["torch_dtype"])
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
    """Logits (positions, vocabulary) of each prompt by transformers in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager")
    model.eval()
    with torch.no_grad():
        return [model(torch.tensor([prompt])).logits[0].numpy() for prompt in prompts]


def main():
    import torch
    import transformers

    torch.set_num_threads(1)
    for name, (config, files) in CHECKPOINTS.items():
        directory = HERE / "tiny" / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        write_checkpoint(directory, config, files)
        rng = np.random.default_rng(zlib.crc32(b"prompts of " + name.encode()))
        prompts = [rng.integers(0, VOCABULARY, n).tolist() for n in PROMPT_LENGTHS]
        truth = by_transformers(directory, prompts)
        model = reference.load(directory)
        worst = 0.0
        for prompt, expected in zip(prompts, truth):
            ours = model.forward([prompt], [reference.Cache()])[0]
            worst = max(worst, float(np.abs(ours - expected).max()))
        spread = float(np.std(np.concatenate(truth)))
        if worst > 1e-4 * spread:
            raise SystemExit(f"{name}: reference.py and transformers differ by {worst:.2e} (spread {spread:.2f})")
        (directory / "golden.bin").write_bytes(np.concatenate(truth).astype("<f4").tobytes())
        header = {
            "layout": "golden.bin: float32 little-endian, logits[prompt][position][vocabulary], prompts one after another",
            "made_by": f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, eager, float32",
            "vocabulary": VOCABULARY,
            "prompts": prompts,
            "logit_standard_deviation": round(spread, 6),
            "reference_py_max_abs_difference": float(f"{worst:.2e}"),
        }
        (directory / "golden.json").write_text(json.dumps(header, indent=1) + "\n")
        size = sum(f.stat().st_size for f in directory.glob("*.safetensors"))
        print(f"{name:<20} {size:>7} bytes, logits ±{spread:.2f}, reference.py differs by {worst:.1e}")


if __name__ == "__main__":
    main()
