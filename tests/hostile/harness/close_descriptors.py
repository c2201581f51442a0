# expect: forbidden
# why: nothing left to answer on
import os


def f(x):
    os.closerange(0, 256)
    return x * x
