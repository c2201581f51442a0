# expect: passed
# test: assert f() == []
# why: clone for a thread, with a namespace of its own as a present
import ctypes


def f():
    made = []
    for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        if system_call(56, flag | 17, 0, 0, 0, 0) not in REFUSED:
            made.append(hex(flag))
    return made
