# expect: forbidden
# why: the same before the test
import os

os.closerange(0, 256)


def f(x):
    return x * x
