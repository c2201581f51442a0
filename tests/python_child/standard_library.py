# Prints up to a number of files of the standard library that this interpreter compiles, as a JSON list of texts.
# Always the same ones: every k-th by name, then every k-th from the second on, and so on.

import json
import os
import sys
import sysconfig
import warnings

COUNT, MOST_BYTES = json.load(sys.stdin)
LEFT_OUT = ("__pycache__", "site-packages", "dist-packages")

warnings.simplefilter("ignore")
paths = []
for folder, folders, names in os.walk(sysconfig.get_path("stdlib")):
    folders[:] = [name for name in folders if name not in LEFT_OUT]
    paths += [os.path.join(folder, name) for name in names if name.endswith(".py")]
paths = sorted(path for path in paths if 200 <= os.path.getsize(path) <= MOST_BYTES)

stride = max(1, len(paths) // COUNT)
texts = []
for path in (path for first in range(stride) for path in paths[first::stride]):
    if len(texts) == COUNT:
        break
    try:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
        compile(text, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, OSError):
        continue
    texts.append(text)
json.dump(texts, sys.stdout)
