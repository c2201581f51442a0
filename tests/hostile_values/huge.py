# Values that take long to write down.
import collections


def f():
    a = 10**200000
    b = [-a] * 3
    c = range(0, 5, a)
    d = "x" * 10**7
    e = bytes(10**7)
    g = bytearray(10**7)
    h = list(range(10**6))
    i = dict.fromkeys(range(10**6))
    j = set(range(10**5))
    k = collections.OrderedDict.fromkeys(range(10**5))
    l = collections.deque(range(10**6))
    m = float("nan"), -0.0, complex(1, float("inf"))
    n = "\ud800\udfff\0"
    return m
