# expect: killed
# why: a crash whose handler prints to wherever it can
import ctypes
import faulthandler


def f(x):
    faulthandler.enable(file=2)
    ctypes.memset(0, 0, 100)
    return x * x
