"""A session of EG-CFG done the way its authors' program does it, on transformers, beside a session of vigor.

    python egcfg_reference.py MODEL [--vigor target/release/vigor] [--device cpu] [--threads 2] [--dtype float32]
                              [--attention sdpa] [--rounds 1] [--max-lines 40] [--one-by-one] [--full-prefills]
                              [--out FILE.json]
    python egcfg_reference.py MODEL --synthetic [--device cuda] [--lines 12] [--line-tokens 12] …

Install: `pip install torch transformers gguf accelerate`; transformers 5. MODEL is a GGUF file or a folder with
safetensors; for `--synthetic` also `random:NAME`, weights of a known shape that mean nothing (`models.py`).

Each round runs `vigor bench --only session` in a process of its own, then the same task here: same weights, same
prompts, same parameters (all taken from the document that vigor prints), same bounds on lines, tokens and signal. It
prints seconds a session and seconds a committed token of both. Nothing is extrapolated: `--max-lines` ends both.

The algorithm is written from the published description (arXiv 2506.10948) and what is known of how its program works,
not from that program:

- Guidance begins at `def ENTRY(`. From then on, whenever a token ends a line, a new signal is made: `n` candidates of
  `horizon` lines are sampled from the plain prefix with a fresh prefill; each is made to parse by closing its last
  line with `pass` or by dropping lines from its end; comments and docstrings are dropped; each different program runs
  on each guiding test in a process of its own, traced; the traces become the signal.
- Every token is the argmax of log p + γ (log(q + ε) − log(p + ε)). The conditional stream (q) reads its whole prompt
  again for every token. The plain stream (p) keeps its cache, as the description does not say otherwise;
  `--full-prefills` makes it read everything again too.
- The candidates of a step are sampled in one batch; `--one-by-one` samples them one after another.

Differences from the authors' program, each in its favour: the horizon really ends a candidate; signals are bounded;
a program is traced by `sys.settrace` in one process a test, where theirs takes three and a bytecode interpreter; the
tests of one program run at the same time; a line without a signal is decoded from the plain stream at once.
Difference from vigor: lines inside of docstrings are guided too.

On a GPU everything is computed once in advance on a short prompt, as `vigor bench` warms up too; a session is timed
until the GPU is done, and its parts by events in the GPU's queue, so that nothing waits because it is measured.

A synthetic session
-------------------

`--synthetic` does the work that a session asks of the engine, and nothing else: no text, no programs, no tests. It is
for random weights, which write no program. Everything about it is a number:

    --prompt-tokens P    tokens of the plain prompt
    --signal-tokens S    tokens of a signal
    --tail-tokens R      tokens of the prompt that follow the signal in the conditional prompt
    --lines L            guided lines
    --line-tokens T      tokens of each line
    --candidates n       candidates of each line
    --horizon h          lines of each candidate
    --gamma γ, --temperature, --top-p, --top-k

y are the tokens committed so far; before line l (from 0) they are l·T. Each line does, in this order:

1. n times, one after another, `generate()` reads the P + l·T tokens of prompt and y afresh and samples h·T more at
   the temperature, with a cache, and is never ended by a token. What it sampled is dropped.
2. A new conditional prompt is made: the first P − R tokens of the prompt, S tokens that no signal before had in this
   order, the last R of the prompt.
3. T times: one forward pass over prompt and y, one over conditional prompt and y, batch 1, all tokens read from the
   first to the last without a cache, logits of the last position only; argmax of log p + γ (log(q + ε) − log(p + ε))
   with ε = 1e-8 over the whole vocabulary is appended to y, whichever token it is.

So a session samples L·n·h·T tokens, commits L·T, and reads, with m = P + l·T for each l, n·m + Σ (2·(m + t) + S) for t
from 0 to T − 1. Another implementation does the same work if it samples and commits as many tokens after contexts of
these lengths, however it gets there. `--one-by-one` and `--full-prefills` are always so here. vigor is not run.

The programs that a model wrote run in throw-away child processes with limits of time, memory, files and processes.
That is no sandbox: use a machine that holds nothing of value.
"""

import argparse
import ast
import io
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import tokenize
from concurrent.futures import ThreadPoolExecutor

import torch
import transformers
from transformers import DynamicCache

import models
from measuring import prompt

SECONDS = 10  # wall time of one traced test

# Runs in the child: reads {"program", "call", "events", "value"}, prints the trace.
TRACER = r"""
import io, json, sys
job = json.load(sys.stdin)
lines = job["program"].splitlines()
events, depth = [], 0
def show(value):
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(error).__name__}>"
    return text[:job["value"]]
def trace(frame, event, value):
    if frame.f_code.co_filename != "program" or len(events) >= job["events"]:
        return None
    number = frame.f_lineno
    source = lines[number - 1].rstrip() if 0 < number <= len(lines) else ""
    names = {k: show(v) for k, v in list(frame.f_locals.items()) if not k.startswith("__")}
    if frame.f_code.co_name == "<module>":
        return trace
    state = ", ".join(f"{k}={v}" for k, v in names.items())
    if event == "return":
        events.append(f"return {show(value)}")
    elif event == "exception":
        events.append(f"raise {show(value[1])}")
    else:
        events.append(f"{event}: {source.strip()}  [{state}]")
    return trace
out, sys.stdout = sys.stdout, io.StringIO()
space = {"__name__": "program"}
try:
    exec(compile(job["program"], "program", "exec"), space)
    sys.settrace(trace)
    eval(compile(job["call"], "call", "eval"), space)
except BaseException as error:
    events.append(f"raise {type(error).__name__}: {str(error)[:job['value']]}")
finally:
    sys.settrace(None)
out.write("\n".join(events))
"""


def limits():
    """In the child, before it becomes Python: what it may use."""
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))


def traced(program, call, caps):
    """The trace of one call after a program, or None."""
    job = {"program": program, "call": call, "events": caps["signal_max_events"], "value": caps["signal_max_value"]}
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-c", TRACER],
                input=json.dumps(job).encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env={},
                timeout=SECONDS,
                preexec_fn=limits,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            return None
    return done.stdout.decode(errors="replace").strip() or None


def parses(program):
    try:
        ast.parse(program)
        return True
    except (SyntaxError, ValueError):
        return False


def executable(program):
    """The longest beginning that parses, its last line closed with `pass` where that helps; None without any."""
    lines = program.replace("```", "").rstrip().split("\n")
    while lines:
        indent = re.match(r"\s*", lines[-1]).group()
        attempts = (lines, lines + [f"{indent}pass"], lines + [f"{indent}    pass"], lines[:-1] + [f"{indent}pass"])
        for attempt in attempts:
            if parses("\n".join(attempt)):
                return "\n".join(attempt)
        lines.pop()
    return None


def stripped(program):
    """Without comments and docstrings."""
    try:
        tokens = [t for t in tokenize.generate_tokens(io.StringIO(program).readline) if t.type != tokenize.COMMENT]
        tree = ast.parse(tokenize.untokenize(tokens))
    except (SyntaxError, ValueError, tokenize.TokenError):
        return program
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                body[0] = ast.Pass() if len(body) == 1 else body[0]
                if len(body) > 1:
                    del body[0]
    return ast.unparse(tree)


class Clock:
    """Adds up the seconds of the parts of a session."""

    def __init__(self, model, parts):
        self.gpu = model.device.type == "cuda"
        self.parts = {part: [] for part in parts}

    def timed(self, part, work, *arguments):
        ends = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if self.gpu else [0.0, 0.0]
        if self.gpu:
            ends[0].record()
        else:
            ends[0] = time.perf_counter()
        result = work(*arguments)
        if self.gpu:
            ends[1].record()
        else:
            ends[1] = time.perf_counter()
        self.parts[part].append(ends)
        return result

    def seconds(self):
        """By part; on a GPU only after everything is done."""
        def length(start, end):
            return start.elapsed_time(end) / 1e3 if self.gpu else end - start
        return {part: sum(length(*ends) for ends in all) for part, all in self.parts.items()}


class Engine:
    """The passes of the model that a session asks for; counts what they read and sample."""

    def __init__(self, model):
        self.model = model
        self.counts = {"sampled_tokens": 0, "read_tokens": 0}
        self.cache, self.cached = None, 0

    def ids(self, tokens):
        return torch.tensor([tokens], device=self.model.device)

    def full(self, tokens):
        """Log-probabilities after tokens that are read from the first to the last."""
        self.counts["read_tokens"] += len(tokens)
        logits = self.model(input_ids=self.ids(tokens), use_cache=False, logits_to_keep=1).logits
        return logits[0, -1].float().log_softmax(-1)

    def grown(self, tokens):
        """The same, but only those tokens are read that the cache lacks. It holds one stream, which only grows."""
        if self.cache is None:
            self.cache = DynamicCache(config=self.model.config)
        new = tokens[self.cached :]
        self.counts["read_tokens"] += len(new)
        logits = self.model(input_ids=self.ids(new), past_key_values=self.cache, logits_to_keep=1).logits
        self.cached = len(tokens)
        return logits[0, -1].float().log_softmax(-1)

    def sample(self, prefix, sequences, **options):
        """Continuations of a prefix that is read afresh; their tokens, padded."""
        self.counts["read_tokens"] += len(prefix)
        out = self.model.generate(
            self.ids(prefix),
            attention_mask=torch.ones(1, len(prefix), dtype=torch.long, device=self.model.device),
            do_sample=True,
            repetition_penalty=1.0,
            num_return_sequences=sequences,
            **options,
        )
        return out[:, len(prefix) :].tolist()

    def warm_up(self):
        """Once, uncounted: the first call of everything on a GPU loads kernels and makes room."""
        tokens = prompt(self.model.config.vocab_size, 64)
        self.sample(tokens, 1, max_new_tokens=4, pad_token_id=0)
        mixed(self.full(tokens), self.full(tokens + tokens), 1.0, 1e-8)
        models.synchronize(self.model)


def mixed(p, q, gamma, epsilon):
    """The token that guidance chooses."""
    ratio = (q.exp() + epsilon).log() - (p.exp() + epsilon).log()
    return int((p + gamma * ratio).argmax())


class Session:
    """One session; counts what it does and where the time goes."""

    def __init__(self, model, tokenizer, solved, args):
        self.tokenizer, self.args = tokenizer, args
        self.engine = Engine(model)
        self.clock = Clock(model, ["candidates", "execute", "plain", "conditional"])
        self.task, self.method = solved["task"], solved["method"]
        self.conditional_prompt = solved["conditional_prompt"]
        self.prompt = self.encode(solved["prompt"])
        if len(self.prompt) != solved["prompt_tokens"]:
            raise SystemExit(f"the prompt is {len(self.prompt)} tokens here, {solved['prompt_tokens']} in vigor")
        self.start = solved["program"]
        self.max_lines = min(args.max_lines, solved["max_lines"])
        self.max_tokens = solved["max_tokens"]
        self.tokens = []
        self.counts = {"guided_tokens": 0, "signals": 0, "executions": 0}
        self.ends = {tokenizer.eos_token_id, *tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])}

    def encode(self, text):
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def text(self, tokens=None):
        return self.start + self.tokenizer.decode(self.tokens if tokens is None else tokens)

    def plain(self):
        """Log-probabilities after prompt and program."""
        tokens = self.prompt + self.tokens
        return self.engine.full(tokens) if self.args.full_prefills else self.engine.grown(tokens)

    def candidates(self):
        """Texts that continue the program by `horizon` lines, each batch with a fresh prefill."""
        prefix = self.prompt + self.tokens
        have = self.text().count("\n")
        horizon, decode = self.method["horizon"], self.text

        class Lines(transformers.StoppingCriteria):
            def __call__(self, ids, scores, **kwargs):
                def done(row):
                    new = decode(row[len(prefix) - len(self_tokens) :].tolist())
                    return new.count("\n") - have >= horizon or "```" in new
                return torch.tensor([done(row) for row in ids], device=ids.device)

        self_tokens = self.tokens
        texts = []
        n = self.method["n"]
        for batch in [1] * n if self.args.one_by_one else [n]:
            rows = self.engine.sample(
                prefix,
                batch,
                temperature=self.method["temperature"],
                top_p=self.method["top_p"],
                top_k=self.method["top_k"],
                max_new_tokens=64 * horizon + 64,
                stopping_criteria=transformers.StoppingCriteriaList([Lines()]),
                pad_token_id=self.tokenizer.eos_token_id,
            )
            for row in rows:
                end = next((i for i, t in enumerate(row) if t in self.ends), len(row))
                self.engine.counts["sampled_tokens"] += min(end + 1, len(row))
                texts.append(self.text(self.tokens + row[:end]))
        return texts

    def signal(self, texts):
        programs = {}
        for text in texts:
            program = executable(text.split("```")[0])
            program = program and stripped(program)
            if program:
                programs.setdefault(program)
        entries = []
        calls = [test["call"] for test in self.task["guiding_tests"] if test.get("call")]
        for program in programs:
            with ThreadPoolExecutor(min(8, len(calls) + 1)) as pool:
                traces = list(pool.map(lambda call: traced(program, call, self.method), calls))
            self.counts["executions"] += len(calls)
            for call, trace in zip(calls, traces):
                if trace:
                    entry = f"# Function:\n{program}\n# Invocation:\n{call}\n# Execution Trace:\n{trace}\n"
                    entries.append(entry[: self.method["signal_max_chars"] // 3])
        return "\n".join(entries)[: self.method["signal_max_chars"]]

    def run(self):
        models.synchronize(self.engine.model)
        started = time.perf_counter()
        head = re.compile(rf"^def\s+{re.escape(self.task['entry_point'])}\s*\(")
        gamma, epsilon = self.method["gamma"], self.method["epsilon"]
        guided = bool(head.match(self.text().rstrip("\n").split("\n")[-1]))
        lines, conditional = -1, None
        while len(self.tokens) < self.max_tokens:
            text = self.text()
            written = sum(1 for line in text[len(self.start) :].split("\n")[:-1] if line.strip())
            if written >= self.max_lines or "```" in text[len(self.start) :]:
                break
            guided = guided or bool(head.match(text.split("\n")[-1]))
            if guided and text.count("\n") != lines:
                lines = text.count("\n")
                signal = self.clock.timed("execute", self.signal, self.clock.timed("candidates", self.candidates))
                self.counts["signals"] += 1
                conditional = self.encode(self.conditional_prompt.replace("SIGNAL", signal)) if signal else None
            p = self.clock.timed("plain", self.plain)
            if guided and conditional:
                q = self.clock.timed("conditional", self.engine.full, conditional + self.tokens)
                token = mixed(p, q, gamma, epsilon)
                self.counts["guided_tokens"] += 1
            else:
                token = int(p.argmax())
            if token in self.ends:
                break
            self.tokens.append(token)
        models.synchronize(self.engine.model)
        return {
            "seconds": time.perf_counter() - started,
            "committed_tokens": len(self.tokens),
            **self.counts,
            **self.engine.counts,
            "parts": self.clock.seconds(),
            "program": self.text().split("```")[0],
        }


NUMBERS = {
    "prompt_tokens": (700, "tokens of the plain prompt"),
    "signal_tokens": (600, "tokens of a signal"),
    "tail_tokens": (8, "tokens of the prompt that follow the signal"),
    "lines": (12, "guided lines"),
    "line_tokens": (12, "tokens of each line"),
    "candidates": (3, "candidates of each line"),
    "horizon": (3, "lines of each candidate"),
    "gamma": (1.0, "strength of guidance"),
    "temperature": (0.75, "of the candidates"),
    "top_p": (0.95, "of the candidates"),
    "top_k": (0, "of the candidates; 0 keeps all"),
}


def synthetic_session(model, numbers):
    """The work of a session that consists of numbers, as the head of this file says."""
    engine, clock = Engine(model), Clock(model, ["candidates", "plain", "conditional"])
    vocabulary, n = model.config.vocab_size, argparse.Namespace(**numbers)
    plain, committed = prompt(vocabulary, n.prompt_tokens), []
    head, tail = plain[: n.prompt_tokens - n.tail_tokens], plain[n.prompt_tokens - n.tail_tokens :]

    def candidates():
        new = n.horizon * n.line_tokens
        ways = {"temperature": n.temperature, "top_p": n.top_p, "top_k": n.top_k}
        for _ in range(n.candidates):
            rows = engine.sample(
                plain + committed, 1, min_new_tokens=new, max_new_tokens=new, pad_token_id=0, **ways
            )
            engine.counts["sampled_tokens"] += len(rows[0])

    models.synchronize(model)
    started = time.perf_counter()
    for line in range(n.lines):
        clock.timed("candidates", candidates)
        signal = prompt(vocabulary, n.signal_tokens, start=n.prompt_tokens + line * n.signal_tokens)
        for _ in range(n.line_tokens):
            p = clock.timed("plain", engine.full, plain + committed)
            q = clock.timed("conditional", engine.full, head + signal + tail + committed)
            committed.append(mixed(p, q, n.gamma, 1e-8))
    models.synchronize(model)
    return {
        "seconds": time.perf_counter() - started,
        "committed_tokens": len(committed),
        "guided_tokens": len(committed),
        "signals": n.lines,
        **engine.counts,
        "parts": clock.seconds(),
    }


def vigor_session(args):
    command = [args.vigor, "bench", "--json", "--only", "session", "--model", args.model, "--offline"]
    command += ["--device", args.device, "--threads", str(args.threads), "--lines", str(args.max_lines), "--repeat", "1"]
    command += ["--allow-weaker-sandbox"] if args.allow_weaker_sandbox else []
    done = subprocess.run(command, stdout=subprocess.PIPE)
    if done.returncode:
        raise SystemExit(f"failed with {done.returncode}: {' '.join(command)}")
    document = json.loads(done.stdout)
    row = document["rows"][0]
    result = {"seconds": row["milliseconds"]["median"] / 1e3, **row["counts"], "parts": row["parts"]}
    return document["task"], {**result, "program": document["task"]["written"]}


def medians(results):
    seconds = statistics.median(r["seconds"] for r in results)
    a_token = statistics.median(r["seconds"] / max(1, r["committed_tokens"]) for r in results)
    return {"seconds": seconds, "seconds_a_token": a_token, "committed_tokens": results[-1]["committed_tokens"]}


def compare(model, args):
    """Sessions of vigor and of the reference in turns; what is to be told of them."""
    tokenizer = models.tokenizer(args.model)
    ours, theirs = [], []
    for number in range(1, args.rounds + 1):
        print(f"round {number} of {args.rounds}: vigor", file=sys.stderr)
        solved, result = vigor_session(args)
        ours.append(result)
        print(f"round {number} of {args.rounds}: reference", file=sys.stderr)
        torch.manual_seed(args.seed)
        theirs.append(Session(model, tokenizer, solved, args).run())
    vigor, reference = medians(ours), medians(theirs)
    return {
        "max_lines": args.max_lines,
        "one_by_one": args.one_by_one,
        "full_prefills": args.full_prefills,
        "prompt_tokens": solved["prompt_tokens"],
        "vigor": vigor,
        "reference": reference,
        "reference/vigor": {
            "seconds": reference["seconds"] / vigor["seconds"],
            "seconds_a_token": reference["seconds_a_token"] / vigor["seconds_a_token"],
        },
        "sessions": {"vigor": ours, "reference": theirs},
    }


def synthetic(model, args):
    """Synthetic sessions; what is to be told of them."""
    numbers = {name: getattr(args, name) for name in NUMBERS}
    if not 0 <= numbers["tail_tokens"] < numbers["prompt_tokens"]:
        raise SystemExit("--tail-tokens: part of the prompt, so fewer than --prompt-tokens")
    results = []
    for number in range(1, args.rounds + 1):
        print(f"round {number} of {args.rounds}: synthetic session", file=sys.stderr)
        torch.manual_seed(args.seed)
        results.append(synthetic_session(model, numbers))
    return {"synthetic": numbers, "reference": medians(results), "sessions": {"reference": results}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    models.add_options(parser)
    parser.add_argument("--vigor", default="target/release/vigor")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--max-lines", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--one-by-one", action="store_true", help="sample the candidates one after another")
    parser.add_argument("--full-prefills", action="store_true", help="the plain stream keeps no cache either")
    parser.add_argument("--allow-weaker-sandbox", action="store_true", help="passed on to vigor")
    parser.add_argument("--synthetic", action="store_true", help="a session of numbers, without vigor")
    for name, (default, text) in NUMBERS.items():
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=type(default), default=default, help=f"{text}; only with --synthetic")
    parser.add_argument("--out", help="file for the JSON, which is printed too")
    args = parser.parse_args()
    models.resolve(args)
    if models.is_random(args.model) and not args.synthetic:
        raise SystemExit(f"{args.model}: random weights write no program; add --synthetic")

    torch.set_num_threads(args.threads)
    model = models.load(args)
    with torch.inference_mode():
        if args.device == "cuda" or args.synthetic:
            Engine(model).warm_up()
        told = synthetic(model, args) if args.synthetic else compare(model, args)
    text = json.dumps({**models.about(model, args), **told}, indent=2)
    print(text)
    if args.out:
        with open(args.out, "w", encoding="utf-8") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
