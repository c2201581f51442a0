"""llama.cpp solves tasks greedily, so that its programs and speed stand beside ours.

    python score_llama_cpp.py MODEL.gguf TASKS.jsonl OUT.jsonl [--threads 2] [--sequences 1]

Each line of TASKS.jsonl is a prompt that is tokenized already, so that both engines read the same tokens:

    {"task_id": "HumanEval/0", "prompt_tokens": [1, 2, 3], "stop": "```", "max_tokens": 400}

`stop` and `max_tokens` may be absent (no stop text; 400). A completion ends before the stop text, at an
end-of-generation token, or after `max_tokens`. Each line of OUT.jsonl, in the order of the tasks:

    {"task_id": …, "completion": text before the stop, "tokens": [every id generated], "finish": "stop"|"eog"|"length"}

An interrupted run goes on where it stopped: tasks that OUT.jsonl holds already are skipped.

llama.cpp runs as its authors ship it: memory map, flash attention chosen by itself, f16 cache, every thread given.
`--sequences N` decodes N tasks in one batch (continuous batching; default 1); near ties may then
fall otherwise, as the sums are taken in another order. With as many threads as cores its speed collapses beside any
other load: measure on an idle machine. At the end one JSON line on standard output gives tokens and seconds;
loading the model is not counted.
"""

import argparse
import codecs
import ctypes
import json
import os
import sys
import time

import llama_cpp as ll


class Slot:
    """One task being decoded in one sequence of the context."""

    def __init__(self, sequence, order, task):
        self.sequence = sequence
        self.order = order
        self.task = task
        self.pending = task["prompt_tokens"]  # tokens that the model has not read yet
        self.position = 0
        self.tokens = []
        self.text = ""
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.finish = None

    def take(self, token, piece, is_end):
        """Note one generated token; sets `finish` when it is the last."""
        stop, limit = self.task.get("stop"), self.task.get("max_tokens", 400)
        self.tokens.append(token)
        self.pending = [token]
        if is_end:
            self.finish = "eog"
        else:
            self.text += self.decoder.decode(piece)
            if stop and stop in self.text:
                self.finish = "stop"
                self.text = self.text[: self.text.index(stop)]
            elif len(self.tokens) >= limit:
                self.finish = "length"

    def result(self):
        return {
            "task_id": self.task["task_id"],
            "completion": self.text,
            "tokens": self.tokens,
            "finish": self.finish,
        }


@ll.llama_log_callback
def log_errors(level, text, _):
    """llama.cpp tells a thousand lines a load; only its errors (level 4) matter here."""
    if level == 4:
        sys.stderr.write(text.decode(errors="replace"))


class Engine:
    """llama.cpp's C API: one model, one context of several sequences, a greedy sampler."""

    def __init__(self, path, threads, sequences, context):
        ll.llama_log_set(log_errors, None)
        ll.llama_backend_init()
        self.model = ll.llama_model_load_from_file(path.encode(), ll.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"{path}: llama.cpp cannot load it")
        params = ll.llama_context_default_params()
        params.n_ctx = context * sequences
        params.n_batch = params.n_ubatch = 512
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = sequences == 1
        self.context = ll.llama_init_from_model(self.model, params)
        if not self.context:
            raise SystemExit(f"{path}: no context of {context * sequences} tokens; lower --context or --sequences")
        self.memory = ll.llama_get_memory(self.context)
        self.vocabulary = ll.llama_model_get_vocab(self.model)
        self.sampler = ll.llama_sampler_init_greedy()
        self.batch = ll.llama_batch_init(params.n_batch, 0, 1)
        self.width = params.n_batch
        self.length = context

    def step(self, slots):
        """Feed every slot's pending tokens, as far as one batch holds them; returns (slot, next token) pairs."""
        batch, ends = self.batch, []
        batch.n_tokens = 0
        # Decoding sequences first, so that a long prompt never starves them.
        for slot in sorted(slots, key=lambda s: len(s.pending)):
            fed = slot.pending[: self.width - batch.n_tokens]
            for token in fed:
                n = batch.n_tokens
                batch.token[n] = token
                batch.pos[n] = slot.position
                batch.n_seq_id[n] = 1
                batch.seq_id[n][0] = slot.sequence
                batch.logits[n] = False
                slot.position += 1
                batch.n_tokens += 1
            slot.pending = slot.pending[len(fed) :]
            if fed and not slot.pending:
                batch.logits[batch.n_tokens - 1] = True
                ends.append((slot, batch.n_tokens - 1))
        status = ll.llama_decode(self.context, batch)
        if status:
            raise SystemExit(f"llama_decode: status {status} with {batch.n_tokens} tokens in the batch")
        return [(slot, ll.llama_sampler_sample(self.sampler, self.context, row)) for slot, row in ends]

    def piece(self, token):
        """The bytes of a token; special tokens are rendered as text."""
        buffer = ctypes.create_string_buffer(256)
        size = ll.llama_token_to_piece(self.vocabulary, token, buffer, len(buffer), 0, True)
        return buffer.raw[: max(size, 0)]

    def is_end(self, token):
        return ll.llama_vocab_is_eog(self.vocabulary, token)

    def release(self, sequence):
        ll.llama_memory_seq_rm(self.memory, sequence, -1, -1)


def read_done(path):
    """Task ids that an earlier run finished; a line cut off by a crash is dropped from the file."""
    if not os.path.exists(path):
        return set()
    whole = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            try:
                whole.append((json.loads(line)["task_id"], line))
            except (ValueError, KeyError):
                break
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(line for _, line in whole)
    return {task_id for task_id, _ in whole}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("tasks")
    parser.add_argument("out")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--sequences", type=int, default=1, help="tasks decoded together")
    parser.add_argument("--context", type=int, default=0, help="tokens a task may hold (default: what the longest needs)")
    parser.add_argument("--limit", type=int, default=0, help="only the first so many tasks")
    args = parser.parse_args()

    with open(args.tasks, encoding="utf-8") as file:
        tasks = [json.loads(line) for line in file if line.strip()]
    if args.limit:
        tasks = tasks[: args.limit]
    done = read_done(args.out)
    todo = [task for task in tasks if task["task_id"] not in done]
    if not todo:
        print(f"{args.out} holds all {len(tasks)} tasks already", file=sys.stderr)
        return
    need = max(len(task["prompt_tokens"]) + task.get("max_tokens", 400) for task in todo)
    if args.context and args.context < need:
        raise SystemExit(f"--context {args.context}: the longest task needs {need}")
    # Multiples of 256 keep llama.cpp from rounding the share of each sequence.
    engine = Engine(args.model, args.threads, args.sequences, args.context or -(-need // 256) * 256)

    waiting = list(enumerate(todo))[::-1]
    free, slots, finished, written = list(range(args.sequences))[::-1], [], {}, 0
    prompt_tokens = generated = steps = 0
    start = time.perf_counter()
    with open(args.out, "a", encoding="utf-8") as out:
        while waiting or slots:
            while waiting and free:
                slots.append(Slot(free.pop(), *waiting.pop()))
                prompt_tokens += len(slots[-1].pending)
            for slot, token in engine.step(slots):
                slot.take(token, engine.piece(token), engine.is_end(token))
                generated += 1
                if slot.finish:
                    engine.release(slot.sequence)
                    free.append(slot.sequence)
                    slots.remove(slot)
                    finished[slot.order] = slot.result()
            steps += 1
            # In the order of the tasks, whichever ends first.
            while written in finished:
                out.write(json.dumps(finished.pop(written), ensure_ascii=False) + "\n")
                out.flush()
                written += 1
                print(f"\r{len(done) + written}/{len(tasks)}", end="", file=sys.stderr, flush=True)
    seconds = time.perf_counter() - start
    print(file=sys.stderr)
    summary = {
        "engine": f"llama-cpp-python {ll.__version__}",
        "threads": args.threads,
        "sequences": args.sequences,
        "tasks": len(todo),
        "prompt_tokens": prompt_tokens,
        "generated_tokens": generated,
        "forward_passes": steps,
        "seconds": round(seconds, 3),
        "generated_tokens_per_second": round(generated / seconds, 2),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
