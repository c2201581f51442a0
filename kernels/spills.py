"""Compiles kernels/*.cu for each kind of GPU, and shows what every kernel takes of it. Fails when nvcc warns, or when a
kernel keeps values in memory because its registers do not suffice: that costs more than any other slip.

Usage: python3 kernels/spills.py [FILE.cu...], with nvcc on PATH or at CUDA_HOME
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

# Kernels that may spill or have a stack frame, each with the reason: {"name": "why"}.
ALLOWED = {}

ARCHS = ["sm_80", "sm_90"]
# Those of build.rs.
FLAGS = ["-std=c++17", "-O3", "-fmad=false", "--expt-relaxed-constexpr", "-lineinfo"]
KERNELS = pathlib.Path(__file__).resolve().parent
COLUMNS = ["kernel", "for", "registers", "spilled bytes", "shared bytes", "stack bytes"]


def find_nvcc():
    homes = [os.path.join(os.environ[v], "bin") for v in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(v)]
    nvcc = shutil.which("nvcc", path=os.pathsep.join([*homes, os.environ.get("PATH", ""), "/usr/local/cuda/bin"]))
    if nvcc is None:
        sys.exit("there is no nvcc: run this as bash kernels/toolkit.sh python3 kernels/spills.py")
    return nvcc


def functions(messages):
    """What ptxas says of every kernel, and of every function that was not inlined into one."""
    found = []
    for line in messages.splitlines():
        if match := re.search(r"Function properties for (\S+)", line):
            found.append({"name": match[1], "registers": "-", "spilled": 0, "shared": 0, "stack": 0})
        elif match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            found[-1]["stack"] = int(match[1])
            found[-1]["spilled"] = int(match[2]) + int(match[3])
        elif match := re.search(r"Used (\d+) registers", line):
            found[-1]["registers"] = int(match[1])
            if shared := re.search(r"(\d+) bytes smem", line):
                found[-1]["shared"] = int(shared[1])
    return found


def compiled(nvcc, file, arch, folder):
    """Whether `file` compiles for `arch` without a warning, and nvcc's messages."""
    command = [nvcc, "-cubin", f"-arch={arch}", *FLAGS, "-Werror", "all-warnings", "-Xptxas", "-v", str(file)]
    command += ["-I", str(KERNELS), "-o", os.path.join(folder, f"{file.stem}.{arch}.cubin")]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    return done.returncode == 0, done.stdout


def main():
    files = [pathlib.Path(arg) for arg in sys.argv[1:]] or sorted(KERNELS.glob("*.cu"))
    if not files:
        sys.exit(f"there are no kernels in {KERNELS}")
    nvcc = find_nvcc()
    jobs = [(file, arch) for file in files for arch in ARCHS]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda job: compiled(nvcc, *job, folder), jobs))

    rows, faults, seen = [], [], set()
    for (file, arch), (succeeded, messages) in zip(jobs, results):
        if not succeeded:
            faults.append(f"{file.name} does not compile for {arch}:\n{messages}")
            continue
        for f in functions(messages):
            rows.append([f["name"], arch, f["registers"], f["spilled"], f["shared"], f["stack"]])
            if f["spilled"] or f["stack"]:
                seen.add(f["name"])
                if f["name"] not in ALLOWED:
                    faults.append(f"{f['name']} for {arch} ({file.name}): spills, or keeps an array in memory")

    table = [COLUMNS, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(COLUMNS))]
    for row in table:
        left = [cell.ljust(width) for cell, width in zip(row[:2], widths)]
        right = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:])]
        print("  ".join(left + right))
    if len(sys.argv) == 1:
        faults += [f"{name} does not spill any more: take it off ALLOWED" for name in ALLOWED if name not in seen]
    if not rows and not faults:
        faults.append("nvcc says nothing of any kernel")
    if faults:
        sys.exit("\n".join(faults))


main()
