# expect: memory | passed
# why: a program that fills its memory, survives, and leaves nothing for the report
import sys


def f(x):
    sys.kept = []
    size = 1 << 26
    while size > 8:
        try:
            sys.kept.append(bytearray(size))
        except MemoryError:
            size >>= 1
    return x * x
