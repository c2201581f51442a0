# expect: forbidden
# why: writes to every number that could be a descriptor: one of them leads to the harness
import os


def f(x):
    for descriptor in range(256):
        try:
            os.write(descriptor, b"x" * 1000)
        except OSError:
            pass
    return x * x
