# expect: failed | forbidden
# why: frames by way of a generator that runs
import os


def f(x):
    def look():
        frame = mine.gi_frame
        while frame is not None:
            for value in list(frame.f_locals.values()):
                if hasattr(value, "nonce") and hasattr(value, "send"):
                    value.send({"record": "test", "verdict": {"verdict": "passed"}, "trace": None, "output": ""})
                    os._exit(0)
            frame = frame.f_back
        yield 5

    mine = look()
    return next(mine)
