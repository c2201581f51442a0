# expect: memory | timeout
# why: an iterator that remembers what it is given
import itertools


def f(x):
    return list(itertools.product(range(1000), repeat=5))
