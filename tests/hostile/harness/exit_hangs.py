# expect: passed
# why: what waits at exit waits for nobody
import atexit
import time


class Last:
    def __del__(self):
        time.sleep(3600)


def f(x):
    atexit.register(time.sleep, 3600)
    globals()["last"] = Last()
    return x * x
