# expect: timeout
# why: a question to an endless iterator
import itertools


def f(x):
    return -1 in itertools.count()
