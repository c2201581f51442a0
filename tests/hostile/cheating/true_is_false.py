# expect: failed
# why: numbers that are shared by the whole interpreter, changed in memory
import ctypes


def f(x):
    # The value of the small integer 5 stands behind its head; 24 bytes up to 3.11, and after.
    digit = ctypes.c_uint32.from_address(id(5) + 24)
    digit.value = 4
    return 2 + 4
