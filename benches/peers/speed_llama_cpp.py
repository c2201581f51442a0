"""How fast llama.cpp prefills a prompt and decodes one or several sequences, by its C API.

    python speed_llama_cpp.py MODEL.gguf [--threads 2] [--prefill 512] [--decode 64] [--prefix 0]
                              [--sequences 1,8] [--repeat 3] [--flash auto]

One JSON line a measurement on standard output, the best and the median of the repetitions in tokens/s (over
all sequences). Speeds move with the machine's load: run this and our own benchmark in turns, A B A B, and
compare within one such run. With as many threads as cores its speed collapses beside any other load;
`load_average` in each line tells whether that may have happened.

Install: `pip install numpy`, then `CMAKE_ARGS="-DGGML_NATIVE=ON" pip install --no-binary llama-cpp-python
llama-cpp-python==0.3.36`, which builds llama.cpp for this machine. On a processor with AMX, GCC 12 builds a library that
dies in `ldtilecfg`: it takes only the first 8 of the 64 bytes of the tile configuration for an operand. Then add
`-DCMAKE_CXX_FLAGS=-include/path/tiles.h`, where tiles.h says

    #include <immintrin.h>
    #define _tile_loadconfig(c) __asm__ volatile("ldtilecfg %0" : : "m"(*(const char(*)[64])(c)))

Several sequences share a prefix of `--prefix` tokens (`llama_memory_seq_cp`, unified cache) and go through the
model in one batch a step, each continued greedily.
"""

import argparse
import os
import sys
import time

import llama_cpp as ll

import measuring
from measuring import prompt


@ll.llama_log_callback
def log_errors(level, text, _):
    """llama.cpp tells a thousand lines a load; only its errors (level 4) matter here."""
    if level == 4:
        sys.stderr.write(text.decode(errors="replace"))


FLASH = {
    "auto": ll.LLAMA_FLASH_ATTN_TYPE_AUTO,
    "on": ll.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    "off": ll.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}


class Engine:
    """One model and one context with room for every sequence."""

    def __init__(self, path, threads, context, sequences, flash):
        ll.llama_log_set(log_errors, None)
        ll.llama_backend_init()
        self.model = ll.llama_model_load_from_file(path.encode(), ll.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"{path}: llama.cpp cannot load it")
        params = ll.llama_context_default_params()
        params.n_ctx = context
        params.n_batch = params.n_ubatch = 512
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = True
        params.flash_attn_type = FLASH[flash]
        self.context = ll.llama_init_from_model(self.model, params)
        if not self.context:
            raise SystemExit(f"{path}: no context of {context} tokens")
        self.memory = ll.llama_get_memory(self.context)
        self.sampler = ll.llama_sampler_init_greedy()
        self.batch = ll.llama_batch_init(params.n_batch, 0, 1)
        self.width = params.n_batch
        self.vocabulary = ll.llama_vocab_n_tokens(ll.llama_model_get_vocab(self.model))

    def decode(self, rows):
        """One forward pass of (token, position, sequence, logits wanted) rows."""
        for n, (token, position, sequence, wanted) in enumerate(rows):
            self.batch.token[n] = token
            self.batch.pos[n] = position
            self.batch.n_seq_id[n] = 1
            self.batch.seq_id[n][0] = sequence
            self.batch.logits[n] = wanted
        self.batch.n_tokens = len(rows)
        status = ll.llama_decode(self.context, self.batch)
        if status:
            raise SystemExit(f"llama_decode: status {status} with {len(rows)} rows")

    def sample(self, row):
        return ll.llama_sampler_sample(self.sampler, self.context, row)

    def prefill(self, tokens):
        """Read `tokens` into an empty sequence 0; returns the greedy next token."""
        ll.llama_memory_clear(self.memory, True)
        for start in range(0, len(tokens), self.width):
            part = tokens[start : start + self.width]
            self.decode([(t, start + n, 0, start + n + 1 == len(tokens)) for n, t in enumerate(part)])
        return self.sample(len(part) - 1)


def measure_prefill(engine, length):
    tokens = prompt(engine.vocabulary, length)
    start = time.perf_counter()
    engine.prefill(tokens)
    return length / (time.perf_counter() - start)


def measure_decode(engine, prefix, sequences, steps):
    tokens = prompt(engine.vocabulary, max(prefix, 8))
    first = engine.prefill(tokens)
    for sequence in range(1, sequences):
        ll.llama_memory_seq_cp(engine.memory, 0, sequence, -1, -1)
    # Different first tokens, so that the sequences part at once.
    current = [first] + prompt(engine.vocabulary, sequences - 1)
    start = time.perf_counter()
    for step in range(steps):
        engine.decode([(token, len(tokens) + step, n, True) for n, token in enumerate(current)])
        current = [engine.sample(n) for n in range(sequences)]
    return sequences * steps / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    measuring.add_options(parser)
    parser.add_argument("--decode", type=int, default=64, help="steps of a decode measurement; 0 leaves it out")
    parser.add_argument("--prefix", type=int, default=0, help="tokens that the sequences share (at least 8)")
    parser.add_argument("--sequences", default="1", help="how many decode together, several separated by commas")
    parser.add_argument("--flash", choices=FLASH, default="auto", help="flash attention")
    args = parser.parse_args()

    counts = [int(n) for n in args.sequences.split(",")]
    room = max(args.prefill, max(args.prefix, 8) + max(counts) * args.decode)
    engine = Engine(args.model, args.threads, -(-room // 256) * 256, max(counts), args.flash)
    engine.prefill(prompt(engine.vocabulary, 16))  # warm: pages of the file, threads, buffers
    jobs = []
    if args.prefill:
        jobs.append(({"what": "prefill", "tokens": args.prefill}, lambda: measure_prefill(engine, args.prefill)))
    for n in counts if args.decode else []:
        about = {"what": "decode", "sequences": n, "prefix": max(args.prefix, 8), "steps": args.decode}
        jobs.append((about, lambda n=n: measure_decode(engine, args.prefix, n, args.decode)))
    setting = {
        "engine": f"llama-cpp-python {ll.__version__}",
        "model": os.path.basename(args.model),
        "threads": args.threads,
        "flash": args.flash,
    }
    measuring.report(jobs, args.repeat, setting)


if __name__ == "__main__":
    main()
