# expect: failed | forbidden
# why: the object that reports verdicts, found by walking up the frames
import os
import sys

PASSED = {"record": "test", "verdict": {"verdict": "passed"}, "trace": None, "output": ""}


def f(x):
    frame = sys._getframe()
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if hasattr(value, "nonce") and hasattr(value, "send"):
                value.send(PASSED)
                os._exit(0)
        frame = frame.f_back
    return 5
