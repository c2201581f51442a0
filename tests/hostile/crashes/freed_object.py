# expect: killed | exception | failed | forbidden | timeout
# why: an object that is freed while it is in use
import ctypes


def f(x):
    values = [object() for _ in range(1000)]
    for value in values:
        ctypes.c_ssize_t.from_address(id(value)).value = 1
    del value, values
    ctypes.memset(id(None), 0, 16)
    return None
