"""Blocks of random bytes in ggml's formats, and the weights that ggml's own Python package reads in them.

    python blocks.py          writes blocks.json
"""

import json
from pathlib import Path

import gguf
import numpy as np

TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"]
# Where a block's factors stand, two bytes each: random bits could be infinite.
FACTORS = {
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
    "IQ4_NL": [0],
    "IQ4_XS": [0],
}


def main():
    rng = np.random.default_rng(4)
    goldens = []
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name]
        block, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = rng.integers(0, 256, (2, size), dtype=np.uint8)
        for at in FACTORS[name]:
            blocks[:, at : at + 2] = rng.uniform(-0.1, 0.1, (2, 1)).astype("<f2").view(np.uint8)
        values = gguf.quants.dequantize(blocks.reshape(1, -1), kind).reshape(-1)
        assert len(values) == 2 * block
        goldens.append(
            {
                "name": name.replace("_K", "K"),
                "bytes": blocks.reshape(-1).tolist(),
                "values": [float(v) for v in values],
            }
        )
    text = ",\n".join(json.dumps(golden, separators=(",", ":")) for golden in goldens)
    (Path(__file__).parent / "blocks.json").write_text(f"[\n{text}\n]\n")


if __name__ == "__main__":
    main()
