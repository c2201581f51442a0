"""Golden logits of real GGUF models by NumPy in F32, and how far llama.cpp stays from them.

    python logits.py NAME MODEL.gguf        writes NAME.logits.json and NAME.logits.bin (README.md has the layout)

The truth is `reference.py` over the dequantised weights: 20 prompts, each continued greedily by 64 tokens, then
everything fed at once (teacher forcing). llama.cpp is fed the same tokens in several settings.
"""

import argparse
import hashlib
import json
import zlib
from pathlib import Path

import reference  # first: it settles NumPy's threads
import numpy as np
from prompts import PROMPTS

HERE = Path(__file__).parent
STEPS = 64
TOP = 8
RANDOM = 24

# (name, keys and values in F32?, flash attention?, continuation fed one token at a time?)
SETTINGS = [
    ("default: f16 cache, flash attention, one batch", False, True, False),
    ("default, one token at a time", False, True, True),
    ("f16 cache, no flash attention, one batch", False, False, False),
    ("f32 cache, no flash attention, one batch", True, False, False),
    ("f32 cache, no flash attention, one token at a time", True, False, True),
]


class Deviation:
    """Absolute differences to the truth, gathered over prompts."""

    def __init__(self):
        self.sums = {"full": 0.0, "subset": 0.0}
        self.counts = {"full": 0, "subset": 0}
        self.largest = {"full": 0.0, "subset": 0.0}
        self.agreed = 0
        self.disagreed_margins = []

    def add(self, truth, logits, ids, margins):
        """Logits (steps, vocabulary) of one prompt against the truth; `ids` (steps, 32) is the stored subset."""
        difference = np.abs(truth - logits)
        for scope, values in (("full", difference), ("subset", np.take_along_axis(difference, ids, axis=1))):
            self.sums[scope] += float(values.sum(dtype=np.float64))
            self.counts[scope] += values.size
            self.largest[scope] = max(self.largest[scope], float(values.max()))
        same = logits.argmax(axis=1) == ids[:, 0]
        self.agreed += int(same.sum())
        self.disagreed_margins += [float(m) for m in margins[~same]]

    def summary(self):
        out = {}
        for scope in ("full", "subset"):
            out[f"mean_abs_{scope}"] = six(self.sums[scope] / self.counts[scope])
            out[f"max_abs_{scope}"] = six(self.largest[scope])
        out["greedy_agreement"] = self.agreed
        out["largest_margin_where_greedy_differs"] = six(max(self.disagreed_margins, default=0.0))
        return out


def six(value):
    """Six significant digits: what the headers keep of a measured number."""
    return float(f"{value:.6g}")


def stored_ids(truth, name, prompt):
    """(steps, 32) token ids: the 8 largest logits, descending, then 24 others drawn once per position."""
    ids = np.empty((STEPS, TOP + RANDOM), dtype=np.int64)
    for step, row in enumerate(truth):
        top = np.argsort(-row, kind="stable")[:TOP]
        rng = np.random.default_rng([zlib.crc32(name.encode()), prompt, step])
        others = np.setdiff1d(rng.choice(len(row), RANDOM + TOP, replace=False), top, assume_unique=True)
        ids[step] = np.concatenate([top, rng.permutation(others)[:RANDOM]])
    return ids


def tokenize(path):
    """The prompts as token ids by llama.cpp's tokenizer: special tokens read as such, none added."""
    from llama_cpp import Llama

    vocabulary = Llama(path, vocab_only=True, verbose=False)
    return [vocabulary.tokenize(text.encode(), add_bos=False, special=True) for text in PROMPTS]


def llama_cpp_logits(llama, tokens, steps, one_at_a_time):
    """The last `steps` rows of logits after feeding `tokens`."""
    llama.reset()
    head = len(tokens) - steps + 1 if one_at_a_time else len(tokens)
    llama.eval(tokens[:head])
    for token in tokens[head:]:
        llama.eval([token])
    return np.array(llama.scores[len(tokens) - steps : len(tokens)], dtype=np.float32)


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("gguf")
    parser.add_argument("--threads", type=int, default=1, help="llama.cpp's; they change no number")
    args = parser.parse_args()

    import llama_cpp

    prompts = tokenize(args.gguf)
    model = reference.load(args.gguf)
    continuations = model.greedy(prompts, STEPS)
    # The last token of a continuation is chosen but never fed.
    fed = [prompt + continuation[:-1] for prompt, continuation in zip(prompts, continuations)]

    truths, records = [], []
    for index, tokens in enumerate(fed):
        truth = model.forward([tokens], [reference.Cache()], keep=STEPS)[0]
        ids = stored_ids(truth, args.name, index)
        if ids[:, 0].tolist() != continuations[index]:
            raise SystemExit(f"prompt {index}: a tie flips between one token at a time and all at once; change the prompt")
        logits = np.take_along_axis(truth, ids, axis=1)
        wide = truth.astype(np.float64)
        peak = wide.max(axis=1)
        lse = peak + np.log(np.exp(wide - peak[:, None]).sum(axis=1))
        margin = logits[:, 0] - logits[:, 1]
        record = np.zeros(
            STEPS, dtype=[("ids", "<u4", TOP + RANDOM), ("logits", "<f4", TOP + RANDOM), ("lse", "<f4"), ("margin", "<f4")]
        )
        record["ids"], record["logits"], record["lse"], record["margin"] = ids, logits, lse, margin
        truths.append((truth, ids, margin))
        records.append(record)
    records = np.concatenate(records)
    embedding_rows = model.embedding.shape[0]
    del model

    measured = []
    for setting, f32_cache, flash, one_at_a_time in SETTINGS:
        llama = llama_cpp.Llama(
            args.gguf,
            n_ctx=256,
            n_batch=256,
            n_threads=args.threads,
            n_threads_batch=args.threads,
            logits_all=True,
            flash_attn=flash,
            type_k=llama_cpp.GGML_TYPE_F32 if f32_cache else None,
            type_v=llama_cpp.GGML_TYPE_F32 if f32_cache else None,
            verbose=False,
        )
        deviation = Deviation()
        for tokens, (truth, ids, margin) in zip(fed, truths):
            deviation.add(truth, llama_cpp_logits(llama, tokens, STEPS, one_at_a_time), ids, margin)
        measured.append({"setting": setting, **deviation.summary()})
        print(json.dumps(measured[-1]), flush=True)
        llama.close()

    every = np.concatenate([truth for truth, _, _ in truths])
    header = {
        "layout": "per position, little-endian: 32 u32 ids, 32 f32 logits, f32 log-sum-exp, f32 top-2 margin",
        "truth": "NumPy float32 over the dequantised weights (reference.py)",
        "gguf": Path(args.gguf).name,
        "gguf_sha256": sha256(args.gguf),
        "vocabulary": embedding_rows,
        "steps": STEPS,
        "top": TOP,
        "random": RANDOM,
        "positions": len(records),
        "logit_standard_deviation": six(float(np.std(every))),
        "llama_cpp": {
            "version": llama_cpp.__version__,
            "threads": args.threads,
            # The strictest reading of "its best": the least of each figure over all settings.
            "best": {
                key: (max if key == "greedy_agreement" else min)(m[key] for m in measured)
                for key in measured[0]
                if key != "setting"
            },
            "settings": measured,
        },
        "prompts": [{"tokens": p, "continuation": c} for p, c in zip(prompts, continuations)],
    }
    text = json.dumps(header, indent=1)
    # One prompt a line, not one token a line.
    for prompt in header["prompts"]:
        for tokens in prompt.values():
            text = text.replace(json.dumps(tokens, indent=1).replace("\n", "\n   "), json.dumps(tokens))
    (HERE / f"{args.name}.logits.json").write_text(text + "\n")
    (HERE / f"{args.name}.logits.bin").write_bytes(records.tobytes())


if __name__ == "__main__":
    main()
