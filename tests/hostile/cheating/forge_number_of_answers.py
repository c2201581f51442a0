# expect: failed | forbidden
# test: assert f(2) == 4\nassert f(3) == 9
# why: fewer answers than questions, and more
import os
import sys


def f(x):
    frame = sys._getframe()
    while frame is not None:
        for status in list(frame.f_locals.values()):
            if hasattr(status, "nonce") and hasattr(status, "send"):
                for answers in ([], [{"shown": "", "value": None}] * 1000, None):
                    record = {"record": "test", "verdict": {"verdict": "passed"}, "trace": None, "output": ""}
                    status.send(record if answers is None else dict(record, answers=answers))
                os._exit(0)
        frame = frame.f_back
    return 5
