# expect: timeout | killed
# why: a crash whose handler returns to the crash, again and again
import ctypes
import signal


def f(x):
    signal.signal(signal.SIGSEGV, lambda number, frame: None)
    ctypes.string_at(1)
    return x * x
