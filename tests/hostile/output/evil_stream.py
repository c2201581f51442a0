# expect: passed
# why: the program's own stream, which never returns, is not the harness's
import sys


class Stream:
    def write(self, text):
        while True:
            pass

    flush = close = __del__ = write


def f(x):
    sys.stdout = sys.stderr = Stream()
    return x * x
