"""Golden guided distributions in float64: `log w = log p + γ (log q − log p)`, then a log-softmax.

    python guidance.py                      writes guidance.json
"""

import json
from pathlib import Path

import numpy as np

VOCABULARY = 64
STRENGTHS = [0.0, 0.5, 1.0, 3.0, -1.0]


def log_softmax(logits):
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


def main():
    rng = np.random.default_rng(20240607)
    # Of usual size, nearly flat, so peaked that most probabilities leave f32's range, and far from zero.
    pairs = {
        "usual": (rng.normal(0, 3, VOCABULARY), rng.normal(0, 3, VOCABULARY)),
        "flat": (rng.normal(0, 0.01, VOCABULARY), rng.normal(0, 0.01, VOCABULARY)),
        "peaked": (rng.normal(0, 60, VOCABULARY), rng.normal(0, 60, VOCABULARY)),
        "offset": (rng.normal(500, 3, VOCABULARY), rng.normal(-500, 3, VOCABULARY)),
    }
    cases = []
    for name, pair in pairs.items():
        # Exactly representable in f32, so that both sides start from the same numbers.
        p, q = (logits.astype(np.float32) for logits in pair)
        log_p, log_q = log_softmax(p.astype(np.float64)), log_softmax(q.astype(np.float64))
        for strength in STRENGTHS:
            cases.append(
                {
                    "name": name,
                    "guidance_strength": strength,
                    "p": [float(v) for v in p],
                    "q": [float(v) for v in q],
                    "log_w": [float(f"{v:.10g}") for v in log_softmax(log_p + strength * (log_q - log_p))],
                }
            )
    header = {"made_by": "NumPy, float64", "formula": "log_softmax(log p + guidance_strength * (log q - log p))"}
    lines = ",\n  ".join(json.dumps(case) for case in cases)
    text = json.dumps(header)[:-1] + ', "cases": [\n  ' + lines + "\n]}\n"
    (Path(__file__).parent / "guidance.json").write_text(text)


if __name__ == "__main__":
    main()
