"""Everything there is to check on a machine with a GPU, in at most ten minutes.

    bash benches/gpu/check.sh [--vigor PATH] [--model GGUF_OR_FOLDER] [--out DIR] [--quick] [--minutes 10]
                              [--python PYTHON] [--allow-weaker-sandbox]

Needs the driver, a `vigor` built with the feature `cuda`, and Python 3.9 or newer. PyTorch with transformers, the package
`gguf` and compute-sanitizer are used where they are installed; without them their steps are left out.

Steps, in this order:

1. `vigor doctor`.
2. `vigor check`: the GPU path against the CPU path, run-to-run equality, independence of a row from its batch; with
   `--model` on that model too. Then the same once more in a new process, and in one whose kernels wait for each other:
   both must say the same but for times, and name the same bits.
3. `vigor bench` with random weights of three shapes, and transformers with weights of the same shapes, attention `eager`
   and `sdpa`, a process each, in turns.
4. A synthetic session of EG-CFG (`../peers/egcfg_reference.py` defines it) with random weights, vigor's and the
   reference's way on transformers, one per attention setting. With `--model` also: whole sessions of EG-CFG on that model, vigor's and the reference's way on transformers
   (`../peers/egcfg_reference.py`), one per attention setting.
5. compute-sanitizer, memcheck and racecheck, on `vigor check --quick`.
6. Step 3 again, `--rounds` times in all, as far as time allows. A figure is the median over the rounds; of the peer's
   two settings the faster one counts for each row.

Each step has a time limit of its own, and none runs past the end of the whole. A step that cannot run is listed with
the reason, never skipped silently. `--quick` takes one shape, one repetition, a quick `vigor check`, no peer and no
sanitizer: it tries the machine and this script.

Standard output gets one table; DIR (default: target/gpu-check) gets `check.json` with all that was measured, every
command, and the end of what each step printed. Exit status: 0 if every step that ran succeeded, every check holds and
no target was missed; 1 if not; 2 for wrong usage.

The rows are those of docs/performance.md. "Of bandwidth" is the share of what `vigor bench` itself measured as the
limit of this GPU. vigor draws the shared rows at temperature 0.8 with top-p 0.95, the peer takes the most probable token;
vigor's tokens go through its engine, the peer's through its bare model, which copies the shared prefix, not timed.
"""

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PEERS = os.path.join(ROOT, "benches", "peers")
sys.path.insert(0, PEERS)

from speed import DECODE_PREFIX, peer_rows

PROMPT, PREFIX = 512, 1000  # tokens of `prefill`, of the prefix of `shared`
H200_BYTES_PER_SECOND = 4.8e12  # its data sheet

# Name, seconds that vigor's benchmark and one process of the peer may take.
MODELS = [("deepseek-coder-1.3b", 60, 60), ("deepseek-coder-6.7b", 90, 75), ("qwen2.5-coder-0.5b", 45, 45)]
# Least share of an H200's bandwidth that decoding one sequence is to reach.
ROOFLINE = {"deepseek-coder-1.3b": 0.60, "deepseek-coder-6.7b": 0.75}
SHARED = {16: 10, 64: 30}  # sequences over one prefix: times the tokens of one
GUIDED = 0.85  # of the rate of two plain sequences
SESSION = 20  # times as fast as the reference's way


class Steps:
    """Runs commands, each within its limit and all within one deadline, and notes what became of each."""

    def __init__(self, minutes):
        self.all = []
        # The report itself needs a moment.
        self.end = time.monotonic() + 60 * minutes - 5

    def left_out(self, name, reason):
        self.note({"step": name, "state": "left out", "reason": reason})

    def note(self, step):
        self.all.append(step)
        reason = f": {step['reason']}" if step.get("reason") else ""
        seconds = f" ({step['seconds']:.0f} s)" if "seconds" in step else ""
        print(f"{step['step']}: {step['state']}{seconds}{reason}", file=sys.stderr, flush=True)

    def run(self, name, command, limit, judge=None):
        """Runs a command. Returns what `judge` makes of its standard output and error (the output itself without one),
        None if the step did not succeed. `judge` raises ValueError to say why it did not."""
        left = self.end - time.monotonic()
        if left < limit / 3:
            self.left_out(name, f"{max(0, left):.0f} s are left, it may need {limit}")
            return None
        limit = min(limit, left)
        step = {"step": name, "state": "failed", "command": command, "limit": round(limit, 1)}
        started, result = time.monotonic(), None
        # Files, not pipes: what a step printed before it was ended is kept.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            try:
                child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True)
            except OSError as error:
                self.note({**step, "reason": str(error)})
                return None
            try:
                step["exit"] = child.wait(timeout=limit)
            except subprocess.TimeoutExpired:
                step.update(state="timed out", reason=f"did not end within {limit:.0f} s")
            finally:
                # Also its children, and also when this script is interrupted.
                if child.poll() is None:
                    os.killpg(child.pid, signal.SIGKILL)
                    child.wait()
            step["seconds"] = round(time.monotonic() - started, 1)
            out, err = map(text_of, (out, err))
        step["stderr"] = err[-2000:]
        if "exit" in step:
            try:
                result = judge(out, err, step["exit"]) if judge else succeeded(out, err, step["exit"])
                step["state"] = "done"
            except Absent as absent:
                step.update(state="left out", reason=str(absent))
            except (ValueError, KeyError, TypeError) as error:
                step["reason"] = str(error) if type(error) is ValueError else f"not as expected: {error!r}"
        if step["state"] != "done":
            step["stdout"] = out[-2000:]
        self.note(step)
        return result


def text_of(file):
    file.seek(0)
    return file.read().decode(errors="replace")


class Absent(Exception):
    """A step cannot run on this machine."""


def succeeded(out, err, code):
    if code:
        lines = [line for line in (err.strip() or out.strip()).splitlines() if line.strip()]
        raise ValueError(f"exit status {code}: {lines[-1].strip() if lines else 'nothing printed'}")
    return out


def document(out, err, code):
    return json.loads(succeeded(out, err, code))


# --- What the steps print ---


def doctored(out, err, code):
    """What `vigor doctor` printed. Without a sandbox (5) everything but sessions can be measured."""
    return out if code == 5 else succeeded(out, err, code)


def checked(out, err, code):
    """What `vigor check --json` printed; a check that does not hold is no failure of the step, it is a result."""
    try:
        told = json.loads(out)
    except ValueError:
        return succeeded(out, err, code or 1)
    failed = [check["name"] for check in told["checks"] if not check["passed"]]
    if bool(failed) != bool(code):
        raise ValueError(f"exit status {code}, but {len(failed)} checks do not hold")
    if not told["checks"]:
        raise ValueError("it checked nothing")
    return told


def without_times(value):
    """The same, without what may differ from run to run."""
    if isinstance(value, dict):
        times = ("date", "seconds", "milliseconds", "microseconds")
        return {k: without_times(v) for k, v in value.items() if not k.endswith(times)}
    if isinstance(value, list):
        return [without_times(v) for v in value]
    if isinstance(value, str):
        return re.sub(r"\d+(\.\d+)? ?(ns|µs|us|ms|s|min)\b", "…", value)
    return value


def benched(out, err, code):
    told = document(out, err, code)
    if not told["machine"].get("gpu"):
        raise ValueError("it did not run on a GPU: machine.gpu is absent")
    return told


def sanitized(out, err, code):
    text = out + err
    summaries = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: .*", text)
    if not summaries and re.search(r"not supported", text, re.IGNORECASE):
        raise Absent("compute-sanitizer does not support this device")
    if not summaries:
        raise ValueError(f"no summary; exit status {code}")
    if code or not re.match(r"(ERROR|RACECHECK) SUMMARY: 0 ", summaries[-1]):
        raise ValueError(f"exit status {code}: {summaries[-1]}")
    return summaries[-1]


def peer_document(out, err, code):
    lines = succeeded(out, err, code).splitlines()
    return {"setting": json.loads(lines[0]), "speeds": peer_rows("\n".join(lines))}


# --- The steps ---


def peer_versions(steps, args):
    """Whether transformers runs on the GPU here: {"gguf": bool, …}, or None, which is noted."""
    name = "transformers: is it here"
    script = (
        "import importlib.util as u, json, torch, transformers as t;"
        "print(json.dumps({'torch': torch.__version__, 'transformers': t.__version__, 'cuda': torch.cuda.is_available(),"
        "'gguf': bool(u.find_spec('gguf'))}))"
    )

    def judge(out, err, code):
        if "ModuleNotFoundError" in err:
            raise Absent(f"{err.strip().splitlines()[-1]} ({args.python})")
        told = document(out, err, code)
        if not told["cuda"]:
            raise Absent(f"PyTorch {told['torch']} of {args.python} sees no GPU")
        return told

    if args.quick:
        return steps.left_out(name, "--quick")
    return steps.run(name, [args.python, "-c", script], 90, judge)


def check_twice(steps, args):
    command = [args.vigor, "check", "--json"] + (["--quick"] if args.quick else [])
    command += ["--model", args.model] if args.model else []
    first = steps.run("vigor check", command, 90, checked)
    if first is None:
        steps.left_out("vigor check, again", "there is nothing to compare it with")
        return None

    def same(out, err, code):
        second = checked(out, err, code)
        if without_times(second) != without_times(first):
            differ = [a["name"] for a, b in zip(first["checks"], second["checks"]) if without_times(a) != without_times(b)]
            raise ValueError(f"the second run says something else: {', '.join(differ) or 'other checks'}")
        return second

    steps.run("vigor check, again", command, 90, same)
    # A kernel that begins before the one before it has ended may read too early: then bits differ from those without that.
    steps.run("vigor check, no early start", ["env", "VIGOR_NO_EARLY_START=1", *command], 90, same)
    return first


def bench_models(steps, args, peer, number, found):
    """One round. Adds to `found`, by model: vigor's documents, and by attention the speeds of the peer."""
    work = ["--repeat", str(args.repeat)]
    for name, limit, peer_limit in MODELS:
        if args.quick and name != MODELS[0][0]:
            steps.left_out(f"bench {name}", "--quick")
            continue
        model = found.setdefault(name, {"vigor": [], "peer": {}})
        command = [args.vigor, "bench", "--device", "cuda", "--json", "--offline", "--model", f"random:{name}"]
        command += ["--only", "prefill,decode,shared,guided,sessions", "--n", "1,16,64"]
        command += ["--prompt", str(PROMPT), "--prefix", str(PREFIX), "--steps", str(args.steps), *work]
        told = steps.run(f"bench {name}, round {number}", command, limit, benched)
        if told:
            model["vigor"].append(told)
        for attention in ("eager", "sdpa") if peer else ():
            command = [args.python, os.path.join(PEERS, "speed_transformers.py"), f"random:{name}", "--device", "cuda"]
            command += ["--attention", attention, "--prefill", str(PROMPT), "--decode", str(args.steps), *work]
            command += ["--measure", f"1:{DECODE_PREFIX},16:{PREFIX}"]
            told = steps.run(f"transformers {name} {attention}, round {number}", command, peer_limit, peer_document)
            if told:
                model["peer"].setdefault(attention, []).append(told)


def sessions(steps, args, peer):
    """Documents of egcfg_reference.py, by attention."""
    name, found = "EG-CFG sessions", {}
    if not args.model:
        steps.left_out(name, "no --model")
    elif not peer:
        steps.left_out(name, "transformers is not here")
    elif not os.path.isdir(args.model) and not peer["gguf"]:
        steps.left_out(name, f"{args.python} has no package `gguf` to read {args.model} with; a folder needs none")
    else:
        for attention in ("eager", "sdpa"):
            command = [args.python, os.path.join(PEERS, "egcfg_reference.py"), args.model, "--vigor", args.vigor]
            command += ["--device", "cuda", "--attention", attention, "--one-by-one", "--full-prefills"]
            command += ["--max-lines", str(args.lines)]
            command += ["--allow-weaker-sandbox"] if args.allow_weaker_sandbox else []
            told = steps.run(f"{name}, {attention}", command, 150, document)
            if told:
                found[attention] = told
    return found


def synthetic_sessions(steps, args, peer):
    """Seconds of a synthetic session: vigor's, and the reference's by attention."""
    model, name, found = f"random:{MODELS[0][0]}", "synthetic session", {}
    command = [args.vigor, "bench", "--device", "cuda", "--json", "--offline", "--model", model]
    command += ["--only", "synthetic-session", "--repeat", str(args.repeat), "--allow-weaker-sandbox"]
    told = steps.run(f"{name}, vigor", command, 60, benched)
    if told:
        found["vigor"] = {"seconds": told["rows"][0]["milliseconds"]["median"] / 1e3, "document": told}
    if not peer:
        steps.left_out(f"{name}, transformers", "transformers is not here")
    elif args.quick:
        steps.left_out(f"{name}, transformers", "--quick")
    else:
        for attention in ("eager", "sdpa"):
            command = [args.python, os.path.join(PEERS, "egcfg_reference.py"), model, "--synthetic"]
            told = steps.run(f"{name}, {attention}", command + ["--device", "cuda", "--attention", attention], 90, document)
            if told:
                found[attention] = {"seconds": told["reference"]["seconds"], "document": told}
    return found


def sanitize(steps, args):
    tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    for kind in ("memcheck", "racecheck"):
        if args.quick:
            steps.left_out(kind, "--quick")
        elif not os.path.exists(tool):
            steps.left_out(kind, "compute-sanitizer is not installed")
        else:
            steps.run(kind, [tool, "--tool", kind, "--error-exitcode", "9", args.vigor, "check", "--quick"], 90, sanitized)


# --- The table ---


def target(text, value, least, percent=False):
    """A target of ours: what is wanted, what was reached, whether that is enough."""
    shown = (lambda x: f"{100 * x:.0f} %") if percent else (lambda x: f"{x:.3g}")
    return {"wanted": f"≥ {shown(least)} {text}", "reached": shown(value), "value": value, "met": value >= least}


def rows_of(name, found):
    """The rows of one model: medians over its rounds."""
    documents = found["vigor"]
    if not documents:
        return []
    speeds, shares = {}, {}
    for told in documents:
        for row in told["rows"]:
            speeds.setdefault(row["name"], []).append(row["tokens_per_second"]["median"])
            if row.get("of_read_bandwidth") is not None:
                shares.setdefault(row["name"], []).append(row["of_read_bandwidth"])
    speeds = {row: statistics.median(values) for row, values in speeds.items()}
    one = speeds.get(f"shared/n=1/prefix={PREFIX}")
    rows = []
    for row, speed in speeds.items():
        entry = {"model": name, "row": row, "tokens_per_second": speed, "rounds": len(documents)}
        if row in shares:
            entry["of_read_bandwidth"] = statistics.median(shares[row])
        kind, n = row.split("/")[0], int((re.findall(r"n=(\d+)", row) or ["1"])[0])
        medians, same = {}, f"shared {n}" if kind == "shared" else kind
        for attention, runs in found["peer"].items():
            theirs = [run["speeds"][same] for run in runs if same in run["speeds"]]
            if theirs:
                medians[attention] = statistics.median(theirs)
        if medians:
            best = max(medians, key=medians.get)
            entry.update(peer=medians[best], peer_setting=best, peer_all=medians, ratio=speed / medians[best])
        if row == "decode" and name in ROOFLINE and "H200" in documents[0]["machine"]["gpu"]["name"]:
            share = speed * documents[0]["weight_bytes"] / H200_BYTES_PER_SECOND
            entry["target"] = target("of 4.8 TB/s", share, ROOFLINE[name], percent=True)
        elif kind == "shared" and n in SHARED and one:
            entry["target"] = target("× n=1", speed / one, SHARED[n])
        elif row.startswith("guided/gamma") and "guided/two-plain" in speeds:
            # A guided token is computed in both streams.
            entry["target"] = target("of two plain", 2 * speed / speeds["guided/two-plain"], GUIDED)
        rows.append(entry)
    return rows


def session_rows(args, found):
    """Seconds of the two: vigor's beside the peer at its better setting."""
    if not found:
        return []
    best = min(found, key=lambda attention: found[attention]["reference"]["seconds"])
    told, rows = found[best], []
    for what in ("seconds", "seconds_a_token"):
        entry = {
            "model": os.path.basename(os.path.abspath(args.model)),
            "row": f"session/eg-cfg, {what.replace('_', ' ')}",
            "seconds": told["vigor"][what],
            "peer": told["reference"][what],
            "peer_setting": best,
            "ratio": told["reference/vigor"][what],
        }
        if what == "seconds":
            entry["target"] = target("× the reference", entry["ratio"], SESSION)
        rows.append(entry)
    return rows


def synthetic_rows(found):
    """The synthetic session: vigor beside the peer at its better setting."""
    peers = {attention: told["seconds"] for attention, told in found.items() if attention != "vigor"}
    if "vigor" not in found:
        return []
    entry = {"model": MODELS[0][0], "row": "synthetic-session, seconds", "seconds": found["vigor"]["seconds"]}
    if peers:
        best = min(peers, key=peers.get)
        entry.update(peer=peers[best], peer_setting=best, peer_all=peers, ratio=peers[best] / entry["seconds"])
        # The target names the reference's own setting.
        entry["target"] = target("× eager", peers["eager"] / entry["seconds"], SESSION) if "eager" in peers else None
    return [{key: value for key, value in entry.items() if value is not None}]


def table(rows):
    head = ["row", "vigor", "of bandwidth", "transformers", "ratio", "target", "reached", ""]
    lines, model = [], None
    for row in rows:
        if row["model"] != model:
            model = row["model"]
            lines.append([model] + [""] * 7)
        ours, wanted = row.get("tokens_per_second", row.get("seconds")), row.get("target")
        digits = 1 if "tokens_per_second" in row else 3
        lines.append([
            "  " + row["row"],
            f"{ours:.{digits}f}",
            f"{100 * row['of_read_bandwidth']:.0f} %" if "of_read_bandwidth" in row else "",
            f"{row['peer']:.{digits}f} ({row['peer_setting']})" if "peer" in row else "",
            f"{row['ratio']:.2f}" if "ratio" in row else "",
            wanted["wanted"] if wanted else "",
            wanted["reached"] if wanted else "",
            ("met" if wanted["met"] else "MISSED") if wanted else "",
        ])
    widths = [max(len(line[column]) for line in [head, *lines]) for column in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in [head, *lines])


def report(steps, doctor, check, rows):
    print()
    print("\n".join(line for line in (doctor or "").splitlines() if line.startswith(("device", "gpu"))))
    if rows:
        print("tokens/s, medians; of sessions seconds\n")
        print(table(rows))
        print()
    if check:
        failed = [one for one in check["checks"] if not one["passed"]]
        print(f"vigor check: {len(check['checks']) - len(failed)} of {len(check['checks'])} checks hold")
        for one in failed:
            print(f"  {one['name']}: {one['detail']}")
    for step in steps.all:
        if step["state"] != "done":
            print(f"{step['step']}: {step['state']}: {step['reason']}")


def gpu_of_the_system():
    """nvidia-smi's line about each GPU, or None without it."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    if not shutil.which(command[0]):
        return None
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
    except subprocess.TimeoutExpired:
        return "nvidia-smi did not answer within 30 s"
    return done.stdout.decode(errors="replace").strip()


def default_vigor():
    built = os.path.join(ROOT, "target", "release", "vigor")
    return built if os.path.exists(built) else shutil.which("vigor") or built


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vigor", default=default_vigor(), help="default: target/release/vigor, or the one of PATH")
    parser.add_argument("--model", help="a GGUF file or a folder with safetensors, for `check` and the sessions")
    parser.add_argument("--out", default=os.path.join(ROOT, "target", "gpu-check"), help="folder for check.json")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--minutes", type=float, default=10, help="the whole ends by then")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--lines", type=int, default=12, help="lines of a session at most")
    parser.add_argument("--python", default=sys.executable, help="interpreter with torch and transformers")
    parser.add_argument("--allow-weaker-sandbox", action="store_true", help="passed on to vigor's sessions")
    args = parser.parse_args()
    args.steps, args.repeat = (16, 1) if args.quick else (64, 3)
    args.rounds, args.lines = (1, min(5, args.lines)) if args.quick else (args.rounds, args.lines)
    args.vigor = os.path.abspath(args.vigor)
    if not os.path.exists(args.vigor):
        build = "build with `cargo build --release --features cuda` or give --vigor"
        parser.error(f"{args.vigor}: there is no such file; {build}")
    if args.model and not os.path.exists(args.model):
        parser.error(f"--model {args.model}: there is no such file or folder")
    os.makedirs(args.out, exist_ok=True)

    started, steps = time.monotonic(), Steps(args.minutes)
    told = {"date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "command": sys.argv, "gpu": gpu_of_the_system()}
    check, bench, session, synthetic = None, {}, {}, {}
    try:
        told["doctor"] = steps.run("vigor doctor", [args.vigor, "doctor"], 30, doctored)
        check = check_twice(steps, args)
        peer = told["transformers"] = peer_versions(steps, args)
        bench_models(steps, args, peer, 1, bench)
        synthetic = synthetic_sessions(steps, args, peer)
        session = sessions(steps, args, peer)
        sanitize(steps, args)
        for number in range(2, args.rounds + 1):
            bench_models(steps, args, peer, number, bench)
    except KeyboardInterrupt:
        steps.note({"step": "all that was to follow", "state": "failed", "reason": "interrupted"})
    rows = [row for name in bench for row in rows_of(name, bench[name])]
    rows += synthetic_rows(synthetic) + session_rows(args, session)
    told.update(
        seconds=round(time.monotonic() - started, 1),
        steps=steps.all,
        check=check,
        rows=rows,
        bench=bench,
        synthetic_sessions=synthetic,
        sessions=session,
    )
    with open(os.path.join(args.out, "check.json"), "w", encoding="utf-8") as file:
        json.dump(told, file, indent=2, ensure_ascii=False)
        file.write("\n")
    report(steps, told.get("doctor"), check, rows)
    good = (
        all(step["state"] in ("done", "left out") for step in steps.all)
        and all(one["passed"] for one in (check or {"checks": []})["checks"])
        and all(row.get("target", {}).get("met", True) for row in rows)
    )
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
