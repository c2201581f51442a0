# expect: forbidden
# why: the same by the C library
import ctypes


def f(x):
    ctypes.CDLL(None)._exit(0)
