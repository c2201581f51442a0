# Containers that hold themselves, and very deep ones.
import collections

LIST, DICT = [], {}
for _ in range(10000):
    LIST = [LIST]
    DICT = {1: DICT}


def f():
    a = []
    a.append(a)
    b = {}
    b[1] = b
    c = collections.deque()
    c.append(c)
    d = (a, b, c)
    e = LIST
    g = DICT
    h = [LIST] * 1000
    return d
