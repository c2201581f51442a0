# expect: passed | exception RecursionError
# why: hardly any depth is left, for the tracer and the report
import sys


def f(x):
    for limit in range(5, 100):
        try:
            sys.setrecursionlimit(limit)
            break
        except RecursionError:
            pass
    return x * x
