#!/usr/bin/env bash
# Everything there is to check on a machine with a GPU, in at most ten minutes. check.py says what and how.
#
#     bash benches/gpu/check.sh [--vigor PATH] [--model GGUF_OR_FOLDER] [--out DIR] [--quick]
set -euo pipefail
exec python3 "$(dirname "${BASH_SOURCE[0]}")/check.py" "$@"
