"""How fast transformers prefills a prompt and decodes one or several sequences, with the weights of a GGUF file.

    python speed_transformers.py MODEL.gguf [--threads 2] [--dtype float32] [--prefill 512] [--decode 32]
                                 [--measure 1:256,8:1000] [--repeat 3]

Install: `pip install torch transformers gguf accelerate`.

`--measure N:PREFIX,…` decodes N sequences that share PREFIX tokens. transformers has no shared cache: the prefix is
read once and its keys and values are copied for each sequence, which is not timed. One JSON line a measurement, in
the form of `speed_llama_cpp.py`. The weights are dequantized when they are loaded, so all arithmetic is that of
`--dtype`.
"""

import argparse
import json
import os
import statistics
import time

import torch
import transformers
from transformers import AutoModelForCausalLM, DynamicCache


def prompt(vocabulary, length):
    """Ordinary token ids, the same at every run; what they say does not change the work."""
    return [1000 + (n * 7919) % min(vocabulary - 2000, 20000) for n in range(length)]


def load(path, dtype):
    transformers.utils.logging.disable_progress_bar()
    folder, name = os.path.split(os.path.abspath(path))
    return AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=getattr(torch, dtype)).eval()


def read(model, tokens):
    """Reads a prompt; returns its cache and the greedy next token."""
    cache = DynamicCache(config=model.config)
    ids = torch.tensor([tokens])
    logits = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
    return cache, int(logits[0, -1].argmax())


def measure_prefill(model, length):
    tokens = prompt(model.config.vocab_size, length)
    start = time.perf_counter()
    read(model, tokens)
    return length / (time.perf_counter() - start)


def measure_decode(model, sequences, prefix, steps):
    cache, first = read(model, prompt(model.config.vocab_size, prefix))
    cache.batch_repeat_interleave(sequences)
    # Different first tokens, so that the sequences part at once.
    current = torch.tensor([[first]] + [[t] for t in prompt(model.config.vocab_size, sequences - 1)])
    start = time.perf_counter()
    for _ in range(steps):
        logits = model(input_ids=current, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
        current = logits[:, -1].argmax(-1, keepdim=True)
    return sequences * steps / (time.perf_counter() - start)


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--prefill", type=int, default=512, help="tokens of the prefill measurement; 0 leaves it out")
    parser.add_argument("--decode", type=int, default=32, help="steps of a decode measurement")
    parser.add_argument("--measure", default="1:256", help="N:PREFIX, several separated by commas; empty for none")
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    model = load(args.model, args.dtype)
    read(model, prompt(model.config.vocab_size, 16))
    jobs = []
    if args.prefill:
        jobs.append(({"what": "prefill", "tokens": args.prefill}, lambda: measure_prefill(model, args.prefill)))
    for part in filter(None, args.measure.split(",")):
        n, prefix = map(int, part.split(":"))
        about = {"what": "decode", "sequences": n, "prefix": prefix, "steps": args.decode}
        jobs.append((about, lambda n=n, prefix=prefix: measure_decode(model, n, prefix, args.decode)))
    for about, job in jobs:
        speeds = [job() for _ in range(args.repeat)]
        line = {
            "engine": f"transformers {transformers.__version__}, torch {torch.__version__}",
            "model": os.path.basename(args.model),
            "threads": args.threads,
            "dtype": args.dtype,
            **about,
            "median_tokens_per_second": round(statistics.median(speeds), 2),
            "best_tokens_per_second": round(max(speeds), 2),
            "repeat": args.repeat,
            "load_average": round(os.getloadavg()[0], 2),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
