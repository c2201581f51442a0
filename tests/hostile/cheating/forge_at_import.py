# expect: failed | forbidden
# why: the same before there is a test, with the word that the program was loaded
import os
import sys

frame = sys._getframe()
while frame is not None:
    for value in list(frame.f_locals.values()):
        if hasattr(value, "nonce") and hasattr(value, "send"):
            value.send({"record": "loaded"})
            value.send({"record": "test", "verdict": {"verdict": "passed"}, "trace": None, "output": ""})
            os._exit(0)
    frame = frame.f_back


def f(x):
    return 5
