# expect: failed | forbidden
# test: assert f(2) == 4
# test: assert f(2) == [1, {"a": (2, 3)}]
# why: records with answers of every form, but for the right one
import os
import sys

VALUES = [None, "", "true", "i5", "*", "i4 ", "I4", "[]", "nan", "#", '["int","4"]', "true\0", "\u0661"]


def f(x):
    frame = sys._getframe()
    while frame is not None:
        for status in list(frame.f_locals.values()):
            if hasattr(status, "nonce") and hasattr(status, "send"):
                for value in VALUES:
                    answers = [{"shown": "4", "value": value}]
                    status.send(
                        {"record": "test", "verdict": {"verdict": "passed"}, "answers": answers, "trace": None, "output": ""}
                    )
                os._exit(0)
        frame = frame.f_back
    return 5
