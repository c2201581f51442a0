"""vigor, llama.cpp and transformers in turns on the CPU, with the same weights and threads.

    python speed.py MODEL.gguf [--vigor target/release/vigor] [--llama-python PYTHON] [--transformers-python PYTHON]
                    [--threads 2] [--rounds 5] [--prefix 1000] [--sequences 8,16] [--out FILE.json]

Needs nothing but Python itself; the two interpreters named are those of environments made as
`speed_llama_cpp.py` and `speed_transformers.py` say. A peer without an interpreter is left out.

Each round starts one process a peer and setting, one after another: A B C, A B C … So whatever else the machine does
falls on all of them alike. A figure is the median over the rounds. Of the settings of a peer (flash attention on and
off; float32 and bfloat16) the one with the best median is taken for each row, so that a peer is shown at its best.

Rows: a prompt read (`prefill`), one sequence decoded after 256 tokens (`decode`), several decoded that share a prefix
(`shared`). What is not alike, and by whom it costs: vigor draws the shared rows at temperature 0.8 with top-p 0.95, the
peers take the most probable token; vigor's tokens go through its engine, from a session's request to the answer, the
peers' through their bare model; vigor computes in f32 over the file's weights, llama.cpp rounds activations to 8
bits; transformers copies the shared prefix for each sequence, which is not timed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
DECODE_PREFIX = 256  # of `vigor bench`


def lines_of(command, environment=None):
    """Runs a peer and returns the JSON it printed: a document, or one a line."""
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment)
    if done.returncode:
        raise SystemExit(f"failed with {done.returncode}: {' '.join(command)}")
    return done.stdout.decode()


def vigor(args):
    out = lines_of(
        [args.vigor, "bench", "--json", "--only", "prefill,decode,shared", "--model", args.model, "--offline"]
        + ["--device", "cpu"]
        + ["--threads", str(args.threads), "--prompt", str(args.prompt), "--prefix", str(args.prefix)]
        + ["--n", args.sequences, "--steps", str(args.steps), "--repeat", str(args.repeat)]
        + (["--allow-weaker-sandbox"] if args.allow_weaker_sandbox else [])
    )
    speeds = {}
    for row in json.loads(out)["rows"]:
        kind = row["name"].split("/")[0]
        name = f"shared {row['sequences']}" if kind == "shared" else kind
        speeds[name] = row["tokens_per_second"]["median"]
    return speeds


def peer_rows(text):
    speeds = {}
    for line in map(json.loads, text.splitlines()):
        if line["what"] == "prefill":
            name = "prefill"
        elif line["prefix"] == DECODE_PREFIX and line["sequences"] == 1:
            name = "decode"
        else:
            name = f"shared {line['sequences']}"
        speeds[name] = line["median_tokens_per_second"]
    return speeds


def llama_cpp(args, flash):
    base = [args.llama_python, os.path.join(HERE, "speed_llama_cpp.py"), args.model, "--flash", flash]
    base += ["--threads", str(args.threads), "--decode", str(args.steps), "--repeat", str(args.repeat)]
    one = ["--prefill", str(args.prompt), "--prefix", str(DECODE_PREFIX), "--sequences", "1"]
    several = ["--prefill", "0", "--prefix", str(args.prefix), "--sequences", args.sequences]
    return {**peer_rows(lines_of(base + one)), **peer_rows(lines_of(base + several))}


def transformers(args, dtype):
    measure = [f"1:{DECODE_PREFIX}"] + [f"{n}:{args.prefix}" for n in args.sequences.split(",")]
    command = [args.transformers_python, os.path.join(HERE, "speed_transformers.py"), args.model]
    command += ["--threads", str(args.threads), "--dtype", dtype, "--prefill", str(args.prompt)]
    command += ["--decode", str(args.steps), "--repeat", str(args.repeat), "--measure", ",".join(measure)]
    return peer_rows(lines_of(command))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--vigor", default="target/release/vigor")
    parser.add_argument("--llama-python", help="interpreter with llama-cpp-python")
    parser.add_argument("--transformers-python", help="interpreter with transformers")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=1, help="repetitions inside of a process, whose median counts")
    parser.add_argument("--prompt", type=int, default=512, help="tokens of prefill")
    parser.add_argument("--prefix", type=int, default=1000, help="tokens that the sequences of `shared` share")
    parser.add_argument("--sequences", default="8,16", help="how many of them, several separated by commas")
    parser.add_argument("--steps", type=int, default=32, help="tokens that each sequence decodes")
    parser.add_argument("--allow-weaker-sandbox", action="store_true", help="passed on to vigor")
    parser.add_argument("--out", help="file for the JSON, which is printed too")
    args = parser.parse_args()

    runs = [("vigor", "", lambda: vigor(args))]
    if args.llama_python:
        runs += [("llama.cpp", f"flash {f}", lambda f=f: llama_cpp(args, f)) for f in ("on", "off")]
    if args.transformers_python:
        runs += [("transformers", d, lambda d=d: transformers(args, d)) for d in ("float32", "bfloat16")]

    speeds = {(peer, setting): {} for peer, setting, _ in runs}
    for number in range(1, args.rounds + 1):
        for peer, setting, run in runs:
            print(f"round {number} of {args.rounds}: {peer} {setting}".rstrip(), file=sys.stderr)
            for row, speed in run().items():
                speeds[peer, setting].setdefault(row, []).append(speed)

    rows = []
    for row in speeds["vigor", ""]:
        entry = {"row": row, "vigor": statistics.median(speeds["vigor", ""][row])}
        for peer in ("llama.cpp", "transformers"):
            medians = {s: statistics.median(v[row]) for (p, s), v in speeds.items() if p == peer and row in v}
            if medians:
                setting = max(medians, key=medians.get)
                entry[peer] = {"tokens_per_second": medians[setting], "setting": setting, "all": medians}
                entry[f"vigor/{peer}"] = entry["vigor"] / medians[setting]
        rows.append(entry)
    document = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "model": os.path.basename(args.model),
        "threads": args.threads,
        "rounds": args.rounds,
        "prompt": args.prompt,
        "decode_prefix": DECODE_PREFIX,
        "shared_prefix": args.prefix,
        "steps": args.steps,
        "rows": rows,
        "rounds_tokens_per_second": {f"{p} {s}".strip(): v for (p, s), v in speeds.items()},
    }
    text = json.dumps(document, indent=2)
    print(text)
    if args.out:
        with open(args.out, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    for entry in rows:
        print(f"{entry['row']:<12} vigor {entry['vigor']:8.1f}", end="", file=sys.stderr)
        for peer in ("llama.cpp", "transformers"):
            if peer in entry:
                speed, ratio = entry[peer]["tokens_per_second"], entry[f"vigor/{peer}"]
                print(f"   {peer} {speed:8.1f} ({entry[peer]['setting']}) × {ratio:.2f}", end="", file=sys.stderr)
        print(file=sys.stderr)


if __name__ == "__main__":
    main()
