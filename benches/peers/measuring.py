"""What the scripts that measure one peer share: a prompt, a few options, and the lines that they print."""

import json
import os
import statistics


def prompt(vocabulary, length, start=0):
    """Ordinary token ids, the same at every run; what they say does not change the work. Another `start` gives others."""
    return [1000 + (n * 7919) % min(vocabulary - 2000, 20000) for n in range(start, start + length)]


def add_options(parser):
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--prefill", type=int, default=512, help="tokens of the prefill measurement; 0 leaves it out")
    parser.add_argument("--repeat", type=int, default=3)


def report(jobs, repeat, setting):
    """Runs each (description, job) `repeat` times; a job returns tokens/s. Prints one JSON line for each."""
    for about, job in jobs:
        speeds = [job() for _ in range(repeat)]
        line = {
            **setting,
            **about,
            "median_tokens_per_second": round(statistics.median(speeds), 2),
            "best_tokens_per_second": round(max(speeds), 2),
            "repeat": repeat,
            "load_average": round(os.getloadavg()[0], 2),
        }
        print(json.dumps(line), flush=True)
