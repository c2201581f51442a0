#!/usr/bin/env bash
# Makes every golden file anew:  tests/goldens/make.sh DIRECTORY_OF_GGUF_FILES
# Needs Python 3.11 and a C++ compiler (llama.cpp is built from source, for this machine).
# PYTHON names the interpreter, VENV the place of the virtual environment (kept, and used again).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
models=${1:?"usage: make.sh DIRECTORY holding the two GGUF files"}
models=$(cd "$models" && pwd)
venv=${VENV:-${TMPDIR:-/tmp}/vigor-goldens-venv}
coder=$models/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf
smollm2=$models/SmolLM2-135M-Instruct.Q4_1.gguf

# The numbers belong to these exact files.
sha256sum --check --quiet <<SUMS
1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32  $coder
b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53  $smollm2
SUMS

[ -x "$venv/bin/python" ] || "${PYTHON:-python3.11}" -m venv "$venv"
CMAKE_ARGS="-DGGML_NATIVE=ON" "$venv/bin/pip" install --quiet --requirement "$here/requirements.txt"

export PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error
cd "$here"
"$venv/bin/python" guidance.py
"$venv/bin/python" blocks.py
"$venv/bin/python" tiny.py
"$venv/bin/python" logits.py smollm2 "$smollm2"
"$venv/bin/python" logits.py coder0.5b "$coder"
