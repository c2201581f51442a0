# expect: passed | forbidden
# why: the object that takes what is printed, called by the program
import sys


def f(x):
    raw = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
    for name in list(getattr(raw, "__dict__", {})):
        setattr(raw, name, None)
    return x * x
