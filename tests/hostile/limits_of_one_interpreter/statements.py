# expect: failed
# test: answer = f(2)\nassert answer == 4
# why: a test that keeps the answer in a variable runs beside the program, which can reach the object that reports
import os
import sys


def f(x):
    frame = sys._getframe()
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if hasattr(value, "nonce") and hasattr(value, "send"):
                value.send({"record": "test", "verdict": {"verdict": "passed"}, "trace": None, "output": ""})
                os._exit(0)
        frame = frame.f_back
    return 5
