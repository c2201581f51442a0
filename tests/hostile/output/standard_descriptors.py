# expect: passed
# why: what goes to the standard descriptors goes to nobody
import ctypes
import os


def f(x):
    for _ in range(1000):
        os.write(1, b"x" * 10000)
        os.write(2, b"x" * 10000)
    libc = ctypes.CDLL(None)
    libc.printf(b"%d\n", 1)
    libc.fflush(None)
    return x * x
