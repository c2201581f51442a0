# expect: passed
# test: assert f() == []
# why: execveat of a file that may be read
import os
import sys


def f():
    descriptor = os.open(sys.executable, os.O_RDONLY)
    reached = []
    if system_call(322, descriptor, b"", None, None, 0x1000) not in REFUSED:
        reached.append("execveat")
    return reached
