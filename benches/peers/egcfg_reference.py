"""A session of EG-CFG done the way its authors' program does it, on transformers, beside a session of vigor.

    python egcfg_reference.py MODEL.gguf [--vigor target/release/vigor] [--threads 2] [--dtype float32]
                              [--rounds 1] [--max-lines 40] [--one-by-one] [--full-prefills] [--out FILE.json]

Install: `pip install torch transformers gguf accelerate`.

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


class Session:
    """One session; counts what it does and where the time goes."""

    def __init__(self, model, tokenizer, solved, args):
        self.model, self.tokenizer, self.args = model, tokenizer, args
        self.task, self.method = solved["task"], solved["method"]
        self.conditional_prompt = solved["conditional_prompt"]
        self.prompt = self.encode(solved["prompt"])
        if len(self.prompt) != solved["prompt_tokens"]:
            raise SystemExit(f"the prompt is {len(self.prompt)} tokens here, {solved['prompt_tokens']} in vigor")
        self.start = solved["program"]
        self.max_lines = min(args.max_lines, solved["max_lines"])
        self.max_tokens = solved["max_tokens"]
        self.tokens = []
        self.plain_cache, self.plain_read = None, 0
        self.counts = {"guided_tokens": 0, "sampled_tokens": 0, "signals": 0, "executions": 0, "read_tokens": 0}
        self.seconds = {"candidates": 0.0, "execute": 0.0, "plain": 0.0, "conditional": 0.0}
        self.ends = {tokenizer.eos_token_id, *tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])}

    def encode(self, text):
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def text(self, tokens=None):
        return self.start + self.tokenizer.decode(self.tokens if tokens is None else tokens)

    def timed(self, part, work, *arguments):
        start = time.perf_counter()
        result = work(*arguments)
        self.seconds[part] += time.perf_counter() - start
        return result

    def full(self, tokens):
        """Log-probabilities after tokens that are read from the first to the last."""
        self.counts["read_tokens"] += len(tokens)
        logits = self.model(input_ids=torch.tensor([tokens]), use_cache=False, logits_to_keep=1).logits
        return logits[0, -1].float().log_softmax(-1)

    def plain(self):
        """Log-probabilities after prompt and program, from what the cache lacks."""
        tokens = self.prompt + self.tokens
        if self.args.full_prefills:
            return self.full(tokens)
        if self.plain_cache is None:
            self.plain_cache = DynamicCache(config=self.model.config)
        new = tokens[self.plain_read :]
        self.counts["read_tokens"] += len(new)
        ids = torch.tensor([new])
        logits = self.model(input_ids=ids, past_key_values=self.plain_cache, logits_to_keep=1).logits
        self.plain_read = len(tokens)
        return logits[0, -1].float().log_softmax(-1)

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
                return torch.tensor([done(row) for row in ids])

        self_tokens = self.tokens
        texts = []
        n = self.method["n"]
        for batch in [1] * n if self.args.one_by_one else [n]:
            out = self.model.generate(
                torch.tensor([prefix]),
                attention_mask=torch.ones(1, len(prefix), dtype=torch.long),
                do_sample=True,
                temperature=self.method["temperature"],
                top_p=self.method["top_p"],
                top_k=self.method["top_k"],
                repetition_penalty=1.0,
                num_return_sequences=batch,
                max_new_tokens=64 * horizon + 64,
                stopping_criteria=transformers.StoppingCriteriaList([Lines()]),
                pad_token_id=self.tokenizer.eos_token_id,
            )
            self.counts["read_tokens"] += len(prefix)
            for row in out[:, len(prefix) :].tolist():
                end = next((i for i, t in enumerate(row) if t in self.ends), len(row))
                self.counts["sampled_tokens"] += min(end + 1, len(row))
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
                signal = self.timed("execute", self.signal, self.timed("candidates", self.candidates))
                self.counts["signals"] += 1
                conditional = self.encode(self.conditional_prompt.replace("SIGNAL", signal)) if signal else None
            p = self.timed("plain", self.plain)
            if guided and conditional:
                q = self.timed("conditional", self.full, conditional + self.tokens)
                ratio = (q.exp() + epsilon).log() - (p.exp() + epsilon).log()
                token = int((p + gamma * ratio).argmax())
                self.counts["guided_tokens"] += 1
            else:
                token = int(p.argmax())
            if token in self.ends:
                break
            self.tokens.append(token)
        return {
            "seconds": time.perf_counter() - started,
            "committed_tokens": len(self.tokens),
            **self.counts,
            "parts": self.seconds,
            "program": self.text().split("```")[0],
        }


def vigor_session(args):
    command = [args.vigor, "bench", "--json", "--only", "session", "--model", args.model, "--offline"]
    command += ["--threads", str(args.threads), "--lines", str(args.max_lines), "--repeat", "1"]
    command += ["--allow-weaker-sandbox"] if args.allow_weaker_sandbox else []
    done = subprocess.run(command, stdout=subprocess.PIPE)
    if done.returncode:
        raise SystemExit(f"failed with {done.returncode}: {' '.join(command)}")
    document = json.loads(done.stdout)
    row = document["rows"][0]
    result = {"seconds": row["milliseconds"]["median"] / 1e3, **row["counts"], "parts": row["parts"]}
    return document["task"], {**result, "program": document["task"]["written"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--vigor", default="target/release/vigor")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--max-lines", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--one-by-one", action="store_true", help="sample the candidates one after another")
    parser.add_argument("--full-prefills", action="store_true", help="the plain stream keeps no cache either")
    parser.add_argument("--allow-weaker-sandbox", action="store_true", help="passed on to vigor")
    parser.add_argument("--out", help="file for the JSON, which is printed too")
    args = parser.parse_args()

    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(args.threads)
    folder, name = os.path.split(os.path.abspath(args.model))
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=getattr(torch, args.dtype)).eval()
    ours, theirs = [], []
    with torch.inference_mode():
        for number in range(1, args.rounds + 1):
            print(f"round {number} of {args.rounds}: vigor", file=sys.stderr)
            solved, result = vigor_session(args)
            ours.append(result)
            print(f"round {number} of {args.rounds}: reference", file=sys.stderr)
            torch.manual_seed(args.seed)
            theirs.append(Session(model, tokenizer, solved, args).run())

    def medians(results):
        seconds = statistics.median(r["seconds"] for r in results)
        a_token = statistics.median(r["seconds"] / max(1, r["committed_tokens"]) for r in results)
        return {"seconds": seconds, "seconds_a_token": a_token, "committed_tokens": results[-1]["committed_tokens"]}

    vigor, reference = medians(ours), medians(theirs)
    document = {
        "model": name,
        "threads": args.threads,
        "dtype": args.dtype,
        "max_lines": args.max_lines,
        "one_by_one": args.one_by_one,
        "full_prefills": args.full_prefills,
        "engine": f"transformers {transformers.__version__}, torch {torch.__version__}",
        "prompt_tokens": solved["prompt_tokens"],
        "vigor": vigor,
        "reference": reference,
        "reference/vigor": {
            "seconds": reference["seconds"] / vigor["seconds"],
            "seconds_a_token": reference["seconds_a_token"] / vigor["seconds_a_token"],
        },
        "sessions": {"vigor": ours, "reference": theirs},
    }
    text = json.dumps(document, indent=2)
    print(text)
    if args.out:
        with open(args.out, "w", encoding="utf-8") as file:
            file.write(text + "\n")


# A script beside this one may be named as a package: this directory must not be searched for any.
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path = [path for path in sys.path if os.path.realpath(path or ".") != HERE]

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

if __name__ == "__main__":
    main()
