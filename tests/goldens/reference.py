"""An F32 forward pass of the llama and qwen2 architectures in plain NumPy.

It is the truth that the golden numbers come from, so it is written for reading, not for speed: every weight is
dequantised to float32 once, every product is a float32 matrix product, and nothing is fused or approximated.

Weights come from a GGUF file (`load(path_to_gguf)`) or from a directory as the model hubs publish it:
`config.json` and one or several `.safetensors` files (`load(directory)`).

    python reference.py MODEL --tokens 1,2,3 --generate 8
"""

import argparse
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

# One thread sums in one order whatever the machine's load; it must be said before NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

F32 = np.float32


@dataclass
class Config:
    """What the forward pass needs to know of a model besides its weights."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    norm_eps: float
    # One angular step a position for each of the head_dim/2 rotated pairs, scaling included (radians).
    frequencies: np.ndarray
    # True: pairs are (0,1), (2,3) …; False: pairs are (0, half), (1, half+1) …
    # llama GGUF files hold query and key rows permuted for the first; everything else uses the second.
    interleaved: bool


@dataclass
class Layer:
    """The weights of one decoder layer; matrices are (out, in), biases may be None."""

    attn_norm: np.ndarray
    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    o: np.ndarray
    mlp_norm: np.ndarray
    gate: np.ndarray
    up: np.ndarray
    down: np.ndarray
    q_bias: np.ndarray | None = None
    k_bias: np.ndarray | None = None
    v_bias: np.ndarray | None = None


@dataclass
class Cache:
    """Keys and values of one sequence: per layer an array (positions, kv_heads, head_dim)."""

    keys: list = field(default_factory=list)
    values: list = field(default_factory=list)

    def __len__(self):
        return self.keys[0].shape[0] if self.keys else 0

    def extend(self, layer, k, v):
        """Append the keys and values of new positions; returns all of them."""
        if layer == len(self.keys):
            self.keys.append(k)
            self.values.append(v)
        else:
            self.keys[layer] = np.concatenate([self.keys[layer], k])
            self.values[layer] = np.concatenate([self.values[layer], v])
        return self.keys[layer], self.values[layer]


class Model:
    """A decoder: token ids in, logits over the vocabulary out."""

    def __init__(self, config, embedding, layers, final_norm, head):
        self.config = config
        self.embedding = embedding
        self.layers = layers
        self.final_norm = final_norm
        self.head = head

    def forward(self, chunks, caches, keep=None):
        """Feed each sequence its chunk of new tokens; returns one array of logits (positions, vocabulary) each.

        `caches` holds one `Cache` a sequence and grows. Sequences share only the matrix products.
        `keep` bounds the logits to each chunk's last `keep` positions (the vocabulary is most of the work).
        """
        c = self.config
        starts = [len(cache) for cache in caches]
        ends = np.cumsum([len(chunk) for chunk in chunks])
        spans = [slice(int(end) - len(chunk), int(end)) for chunk, end in zip(chunks, ends)]
        positions = np.concatenate([start + np.arange(len(chunk)) for start, chunk in zip(starts, chunks)])
        cos, sin = rotation(positions, c.frequencies)
        x = self.embedding[np.concatenate([np.asarray(chunk, dtype=np.int64) for chunk in chunks])]
        for index, layer in enumerate(self.layers):
            h = rms_norm(x, layer.attn_norm, c.norm_eps)
            q = linear(h, layer.q, layer.q_bias).reshape(len(x), c.heads, c.head_dim)
            k = linear(h, layer.k, layer.k_bias).reshape(len(x), c.kv_heads, c.head_dim)
            v = linear(h, layer.v, layer.v_bias).reshape(len(x), c.kv_heads, c.head_dim)
            q = rotate(q, cos, sin, c.interleaved)
            k = rotate(k, cos, sin, c.interleaved)
            mixed = np.empty((len(x), c.heads * c.head_dim), dtype=F32)
            for span, start, cache in zip(spans, starts, caches):
                keys, values = cache.extend(index, k[span], v[span])
                mixed[span] = attention(q[span], keys, values, start)
            x = x + linear(mixed, layer.o)
            h = rms_norm(x, layer.mlp_norm, c.norm_eps)
            x = x + linear(silu(linear(h, layer.gate)) * linear(h, layer.up), layer.down)
        tails = [slice(span.stop - keep, span.stop) if keep else span for span in spans]
        x = np.concatenate([x[tail] for tail in tails])
        logits = linear(rms_norm(x, self.final_norm, c.norm_eps), self.head)
        cuts = np.cumsum([tail.stop - tail.start for tail in tails])[:-1]
        return np.split(logits, cuts)

    def greedy(self, prompts, count):
        """The `count` most likely next tokens of each prompt, one after the other (no token ends a sequence)."""
        caches = [Cache() for _ in prompts]
        logits = [self.forward([p], [c], keep=1)[0][-1] for p, c in zip(prompts, caches)]
        out = [[int(row.argmax())] for row in logits]
        for _ in range(count - 1):
            rows = self.forward([tokens[-1:] for tokens in out], caches)
            for tokens, row in zip(out, rows):
                tokens.append(int(row[-1].argmax()))
        return out


def linear(x, weight, bias=None):
    """x (rows, in) times weight (out, in) transposed, plus bias."""
    y = x @ weight.T
    return y if bias is None else y + bias


def rms_norm(x, weight, eps):
    """Root-mean-square normalisation over the last axis."""
    mean_square = np.mean(x * x, axis=-1, keepdims=True, dtype=F32)
    return x / np.sqrt(mean_square + F32(eps)) * weight


def silu(x):
    """x · sigmoid(x), without overflow for large negative x."""
    return x * F32(0.5) * (F32(1) + np.tanh(x * F32(0.5)))


def rotation(positions, frequencies):
    """cos and sin, each (positions, 1, pairs); angles in float64 so that late positions stay exact."""
    angles = positions[:, None].astype(np.float64) * frequencies[None, :]
    return np.cos(angles).astype(F32)[:, None, :], np.sin(angles).astype(F32)[:, None, :]


def rotate(x, cos, sin, interleaved):
    """Rotary position embedding of x (positions, heads, head_dim)."""
    out = np.empty_like(x)
    half = x.shape[-1] // 2
    first, second = (slice(0, None, 2), slice(1, None, 2)) if interleaved else (slice(0, half), slice(half, None))
    a, b = x[..., first], x[..., second]
    out[..., first] = a * cos - b * sin
    out[..., second] = b * cos + a * sin
    return out


def attention(q, keys, values, start):
    """Causal grouped-query attention of new positions `start…` over all keys; returns (positions, heads·head_dim)."""
    count, heads, dim = q.shape
    group = heads // keys.shape[1]
    visible = np.arange(keys.shape[0])[None, :] <= start + np.arange(count)[:, None]
    out = np.empty((count, heads, dim), dtype=F32)
    for head in range(heads):
        scores = (q[:, head] @ keys[:, head // group].T) * F32(1 / math.sqrt(dim))
        scores = np.where(visible, scores, F32(-np.inf))
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        out[:, head] = weights @ values[:, head // group]
    return out.reshape(count, heads * dim)


def rope_frequencies(dim, base, scaling=None):
    """Angular steps of the head_dim/2 pairs under a `rope_scaling` block: none, `linear` or `llama3`."""
    steps = base ** (-np.arange(0, dim, 2, dtype=np.float64) / dim)
    kind = (scaling or {}).get("rope_type") or (scaling or {}).get("type") or "default"
    if kind == "default":
        return steps
    if kind == "linear":
        return steps / scaling["factor"]
    if kind == "llama3":
        # Slow pairs (whose wavelength exceeds the length the model was trained on) are slowed by the factor,
        # fast ones are kept, those between are interpolated.
        low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
        turns = scaling["original_max_position_embeddings"] * steps / (2 * math.pi)
        keep = np.clip((turns - low) / (high - low), 0.0, 1.0)
        return steps * (keep + (1 - keep) / scaling["factor"])
    raise SystemExit(f"rope scaling {kind!r} is not known here; add it to rope_frequencies()")


def load(path):
    """A `Model` from a `.gguf` file or from a directory with `config.json` and `.safetensors` files."""
    return load_safetensors(Path(path)) if os.path.isdir(path) else load_gguf(path)


def load_gguf(path):
    """A `Model` from a GGUF file; each tensor is dequantised to float32 by the `gguf` package."""
    from gguf import GGUFReader
    from gguf.quants import dequantize

    reader = GGUFReader(path)
    arch = reader.get_field("general.architecture").contents()
    if arch not in ("llama", "qwen2"):
        raise SystemExit(f"{path}: architecture {arch!r}; this reference knows llama and qwen2")
    quantised = {t.name: t for t in reader.tensors}

    def meta(key, default=None):
        value = reader.get_field(f"{arch}.{key}")
        if value is None and default is None:
            raise SystemExit(f"{path}: metadata key {arch}.{key} is missing")
        return default if value is None else value.contents()

    def tensor(name, required=True):
        if name not in quantised:
            if required:
                raise SystemExit(f"{path}: tensor {name} is missing")
            return None
        t = quantised[name]
        values = dequantize(t.data, t.tensor_type)
        # GGUF lists the fastest axis first.
        return np.ascontiguousarray(values.reshape([int(n) for n in reversed(t.shape)]), dtype=F32)

    hidden, heads = meta("embedding_length"), meta("attention.head_count")
    dim = meta("attention.key_length", hidden // heads)
    if meta("rope.dimension_count", dim) != dim:
        raise SystemExit(f"{path}: partial rotation is not known here")
    scaling = None
    if meta("rope.scaling.type", "none") == "linear":
        scaling = {"type": "linear", "factor": meta("rope.scaling.factor")}
    frequencies = rope_frequencies(dim, meta("rope.freq_base", 10000.0), scaling)
    factors = tensor("rope_freqs.weight", required=False)
    if factors is not None:
        frequencies = frequencies / factors
    config = Config(
        layers=meta("block_count"),
        hidden=hidden,
        heads=heads,
        kv_heads=meta("attention.head_count_kv", heads),
        head_dim=dim,
        norm_eps=meta("attention.layer_norm_rms_epsilon"),
        frequencies=frequencies,
        interleaved=arch == "llama",
    )
    layers = []
    for n in range(config.layers):
        at = f"blk.{n}."
        layers.append(
            Layer(
                attn_norm=tensor(at + "attn_norm.weight"),
                q=tensor(at + "attn_q.weight"),
                k=tensor(at + "attn_k.weight"),
                v=tensor(at + "attn_v.weight"),
                o=tensor(at + "attn_output.weight"),
                mlp_norm=tensor(at + "ffn_norm.weight"),
                gate=tensor(at + "ffn_gate.weight"),
                up=tensor(at + "ffn_up.weight"),
                down=tensor(at + "ffn_down.weight"),
                q_bias=tensor(at + "attn_q.bias", required=False),
                k_bias=tensor(at + "attn_k.bias", required=False),
                v_bias=tensor(at + "attn_v.bias", required=False),
            )
        )
    embedding = tensor("token_embd.weight")
    head = tensor("output.weight", required=False)
    return Model(config, embedding, layers, tensor("output_norm.weight"), embedding if head is None else head)


def load_safetensors(directory):
    """A `Model` from a directory as published: `config.json`, `model.safetensors` or shards with an index."""
    published = json.loads((directory / "config.json").read_text())
    if published["model_type"] not in ("llama", "qwen2"):
        raise SystemExit(f"{directory}: model_type {published['model_type']!r}; this reference knows llama and qwen2")
    index = directory / "model.safetensors.index.json"
    if index.exists():
        files = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    else:
        files = ["model.safetensors"]
    tensors = {}
    for name in files:
        tensors.update(read_safetensors(directory / name))

    hidden, heads = published["hidden_size"], published["num_attention_heads"]
    dim = published.get("head_dim") or hidden // heads
    config = Config(
        layers=published["num_hidden_layers"],
        hidden=hidden,
        heads=heads,
        kv_heads=published.get("num_key_value_heads", heads),
        head_dim=dim,
        norm_eps=published["rms_norm_eps"],
        frequencies=rope_frequencies(dim, published.get("rope_theta", 10000.0), published.get("rope_scaling")),
        interleaved=False,
    )
    layers = []
    for n in range(config.layers):
        at = f"model.layers.{n}."
        layers.append(
            Layer(
                attn_norm=tensors[at + "input_layernorm.weight"],
                q=tensors[at + "self_attn.q_proj.weight"],
                k=tensors[at + "self_attn.k_proj.weight"],
                v=tensors[at + "self_attn.v_proj.weight"],
                o=tensors[at + "self_attn.o_proj.weight"],
                mlp_norm=tensors[at + "post_attention_layernorm.weight"],
                gate=tensors[at + "mlp.gate_proj.weight"],
                up=tensors[at + "mlp.up_proj.weight"],
                down=tensors[at + "mlp.down_proj.weight"],
                q_bias=tensors.get(at + "self_attn.q_proj.bias"),
                k_bias=tensors.get(at + "self_attn.k_proj.bias"),
                v_bias=tensors.get(at + "self_attn.v_proj.bias"),
            )
        )
    embedding = tensors["model.embed_tokens.weight"]
    head = embedding if published.get("tie_word_embeddings") else tensors["lm_head.weight"]
    return Model(config, embedding, layers, tensors["model.norm.weight"], head)


def read_safetensors(path):
    """All tensors of one `.safetensors` file, upcast to float32 (F32, F16 and BF16 are read)."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    out = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        data = raw[8 + length + start : 8 + length + end]
        if entry["dtype"] == "BF16":
            # bfloat16 is the upper half of a float32.
            values = (np.frombuffer(data, dtype="<u2").astype(np.uint32) << 16).view(F32)
        else:
            values = np.frombuffer(data, dtype={"F32": "<f4", "F16": "<f2"}[entry["dtype"]]).astype(F32)
        out[name] = values.reshape(entry["shape"])
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--tokens", required=True, help="token ids, separated by commas")
    parser.add_argument("--generate", type=int, default=0, help="continue greedily by so many tokens")
    args = parser.parse_args()
    model = load(args.model)
    tokens = [int(t) for t in args.tokens.split(",")]
    last = model.forward([tokens], [Cache()], keep=1)[0][-1]
    for token in np.argsort(-last)[:8]:
        print(f"{token:>8} {last[token]:.6f}")
    if args.generate:
        print(model.greedy([tokens], args.generate)[0])


if __name__ == "__main__":
    main()
