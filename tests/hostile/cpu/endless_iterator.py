# expect: timeout
# why: C code that asks for ever
import collections
import itertools


def f(x):
    return collections.deque(itertools.repeat(1), maxlen=0)
