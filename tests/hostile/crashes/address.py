# expect: killed
# why: a read where nothing is
import ctypes


def f(x):
    return ctypes.string_at(1)
