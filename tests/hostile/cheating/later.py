# expect: failed
# why: what runs after the answer: at exit, on deletion, on an error that nobody catches
import atexit
import os
import sys
import threading


class Last:
    def __del__(self):
        os._exit(0)


def f(x):
    atexit.register(os._exit, 0)
    sys.excepthook = sys.unraisablehook = threading.excepthook = lambda *arguments: os._exit(0)
    sys.kept = Last()
    return 5
