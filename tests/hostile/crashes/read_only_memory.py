# expect: killed
# why: a write into code
import ctypes


def f(x):
    ctypes.memset(ctypes.cast(ctypes.pythonapi.Py_IncRef, ctypes.c_void_p), 0, 4096)
    return x * x
