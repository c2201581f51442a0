# expect: failed | exception RecursionError
# why: the same where there is something to say
import sys


def f(x):
    for limit in range(5, 100):
        try:
            sys.setrecursionlimit(limit)
            break
        except RecursionError:
            pass
    return [[[[[[[[x]]]]]]]]
