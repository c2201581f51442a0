#!/usr/bin/env bash
# Runs a command with NVIDIA's compiler, nvcc, on a machine that has no CUDA toolkit:
#
#     bash kernels/toolkit.sh cargo build --release --features cuda
#
# Without a command it prints what to evaluate: eval "$(bash kernels/toolkit.sh)"
#
# The compiler comes from NVIDIA's Python wheels (104 MB; 271 MB unpacked), for x86_64 and aarch64, and lies in
# VIGOR_CUDA_TOOLKIT, by default target/cuda-toolkit. The wheels are under NVIDIA's licence:
# https://docs.nvidia.com/cuda/eula. Needed: python3 with pip, and a C++ compiler, which nvcc calls.
set -euo pipefail

# Two hashes each: x86_64, aarch64.
wheels='
nvidia-cuda-nvcc==13.0.88 \
    --hash=sha256:56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03 \
    --hash=sha256:c7ff28f86a24effdc6c034fa15230c549a273e4771b10a7fec14996f8cf3307f
nvidia-nvvm==13.0.88 \
    --hash=sha256:c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0 \
    --hash=sha256:c4376a291d72d22a315d9d2f69bdae8f8cd83a627f75bad395cee49a0fe65dc1
nvidia-cuda-crt==13.0.88 \
    --hash=sha256:2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4 \
    --hash=sha256:ee2ea2a97073e02ee62bb27841f437332be2c248e3eac013df07997ada39c003
nvidia-cuda-runtime==13.0.96 \
    --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548 \
    --hash=sha256:ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55
nvidia-cuda-cccl==13.0.85 \
    --hash=sha256:e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649 \
    --hash=sha256:6f0203e29fed809ee2b7fe9b1344df66ecab990c37d6a2e0e189b26d6c97ed7c
'

root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${VIGOR_CUDA_TOOLKIT:-$root/target/cuda-toolkit}"
folder=$(cd "${VIGOR_CUDA_TOOLKIT:-$root/target/cuda-toolkit}" && pwd)
# Named by the list, so another list never meets the files of this one. Where the name exists, all is there.
tree=$folder/$(uname -m)-$(cksum <<<"$wheels" | cut -d ' ' -f 1)

fetch() (
    # Beside its place until it is whole: two of these scripts may run at once, and each may be stopped.
    new=$(mktemp -d "$folder/new.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    trap 'exit 130' INT TERM
    echo "fetching nvcc 13.0 from Python wheels into $tree; they are under NVIDIA's licence" >&2
    echo "$wheels" >"$new/requirements.txt"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        --dest "$new/wheels" --requirement "$new/requirements.txt" >&2
    for wheel in "$new"/wheels/*.whl; do
        python3 -m zipfile -e "$wheel" "$new/tree"
    done
    home=$new/tree/nvidia/cu13
    # Python's zipfile forgets which files are programs.
    find "$home/bin" "$home/nvvm/bin" -type f -exec chmod +x {} +
    "$home/bin/nvcc" --version >&2
    # Another of these scripts may have been faster: its files are the same.
    mv -T "$new/tree" "$tree" 2>/dev/null || [ -d "$tree" ]
)

[ -d "$tree" ] || fetch
export CUDA_HOME=$tree/nvidia/cu13
export PATH=$CUDA_HOME/bin:$PATH
"$CUDA_HOME/bin/nvcc" --version >/dev/null

if [ $# -eq 0 ]; then
    # shellcheck disable=SC2016 # the reader's shell puts its PATH in
    printf 'export CUDA_HOME=%q PATH=%q:"$PATH"\n' "$CUDA_HOME" "$CUDA_HOME/bin"
else
    exec "$@"
fi
