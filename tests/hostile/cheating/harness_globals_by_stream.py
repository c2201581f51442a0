# expect: failed | forbidden
# why: the same without a frame: methods know their globals
import sys


def f(x):
    for stream in (sys.stdout, sys.stderr, sys.stdin):
        raw = getattr(stream.buffer, "raw", stream.buffer)
        for name in dir(type(raw)):
            space = getattr(getattr(type(raw), name, None), "__globals__", None)
            if space is not None and "describe" in space:
                space["describe"] = lambda *arguments, **named: {"verdict": "passed"}
    return 5
