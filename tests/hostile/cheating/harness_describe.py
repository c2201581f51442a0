# expect: failed | forbidden
# why: the harness's own functions, replaced: a failure is described as a pass
import sys


def f(x):
    frame = sys._getframe(1)
    while frame is not None:
        space = frame.f_globals
        if "describe" in space and "encode" in space:
            space["describe"] = lambda *arguments, **named: {"verdict": "passed"}
        frame = frame.f_back
    return 5
