# expect: passed
# why: no module is left
import sys


def f(x):
    sys.modules.clear()
    return x * x
