# expect: failed | forbidden
# why: no frame and no collector: the stream that takes what is printed knows what a flood reports
import os
import sys


def cells(function, depth=0):
    for cell in getattr(function, "__closure__", None) or ():
        yield cell.cell_contents
        if depth < 4:
            yield from cells(cell.cell_contents, depth + 1)


def f(x):
    raw = sys.stdout.buffer.raw if hasattr(sys.stdout.buffer, "raw") else sys.stdout.buffer
    for function in [value for value in vars(raw).values() if callable(value)] if hasattr(raw, "__dict__") else []:
        for value in cells(function):
            if hasattr(value, "nonce"):
                value.send({"record": "test", "verdict": {"verdict": "passed"}, "trace": None, "output": ""})
                os._exit(0)
    return 5
