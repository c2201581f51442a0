# expect: failed | forbidden
# why: the same object, found by the collector of garbage
import gc
import os


def f(x):
    for value in gc.get_objects():
        if type(value).__name__ == "Status" and hasattr(value, "send"):
            value.send({"record": "test", "verdict": {"verdict": "passed"}, "trace": None, "output": ""})
            os._exit(0)
    return 5
