"""How fast transformers prefills a prompt and decodes one or several sequences.

    python speed_transformers.py MODEL [--device cpu] [--threads 2] [--dtype float32] [--attention sdpa] [--prefill 512]
                                 [--decode 32] [--measure 1:256,8:1000] [--repeat 3]

Install: `pip install torch transformers gguf accelerate`; transformers 5. MODEL is a GGUF file, a folder with
safetensors, or `random:NAME`, weights of a known shape that mean nothing (`models.py`).

`--measure N:PREFIX,…` decodes N sequences that share PREFIX tokens. transformers has no shared cache: the prefix is
read once and its keys and values are copied for each sequence, which is not timed. One JSON line a measurement, in
the form of `speed_llama_cpp.py`. The weights are dequantized when they are loaded, so all arithmetic is that of
`--dtype`.

On a GPU every measurement runs once more before it counts, as in `vigor bench`: the first call of a shape chooses and
loads kernels. Nothing waits for the GPU between two tokens, only before the first and after the last.
"""

import argparse
import time

import torch
from transformers import DynamicCache

import measuring
import models
from measuring import prompt
from models import synchronize


def read(model, tokens):
    """Reads a prompt; returns its cache and the greedy next token."""
    cache = DynamicCache(config=model.config)
    ids = torch.tensor([tokens], device=model.device)
    logits = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
    return cache, int(logits[0, -1].argmax())


def measure_prefill(model, length):
    tokens = prompt(model.config.vocab_size, length)
    synchronize(model)
    start = time.perf_counter()
    read(model, tokens)
    synchronize(model)
    return length / (time.perf_counter() - start)


def measure_decode(model, sequences, prefix, steps):
    cache, first = read(model, prompt(model.config.vocab_size, prefix))
    cache.batch_repeat_interleave(sequences)
    # Different first tokens, so that the sequences part at once.
    current = [[first]] + [[t] for t in prompt(model.config.vocab_size, sequences - 1)]
    current = torch.tensor(current, device=model.device)
    synchronize(model)
    start = time.perf_counter()
    for _ in range(steps):
        logits = model(input_ids=current, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
        current = logits[:, -1].argmax(-1, keepdim=True)
    synchronize(model)
    return sequences * steps / (time.perf_counter() - start)


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    models.add_options(parser)
    measuring.add_options(parser)
    parser.add_argument("--decode", type=int, default=32, help="steps of a decode measurement")
    parser.add_argument("--measure", default="1:256", help="N:PREFIX, several separated by commas; empty for none")
    args = parser.parse_args()
    models.resolve(args)

    torch.set_num_threads(args.threads)
    model = models.load(args)
    read(model, prompt(model.config.vocab_size, 16))
    jobs = []
    if args.prefill:
        jobs.append(({"what": "prefill", "tokens": args.prefill}, lambda: measure_prefill(model, args.prefill)))
    for part in filter(None, args.measure.split(",")):
        n, prefix = map(int, part.split(":"))
        about = {"what": "decode", "sequences": n, "prefix": prefix, "steps": args.decode}
        jobs.append((about, lambda n=n, prefix=prefix: measure_decode(model, n, prefix, args.decode)))
    if args.device == "cuda":
        for _, job in jobs:
            job()
    measuring.report(jobs, args.repeat, models.about(model, args))


if __name__ == "__main__":
    main()
