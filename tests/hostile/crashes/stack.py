# expect: killed | exception RecursionError
# seconds: 5
# why: a stack that overflows in C
import sys


def f(x):
    sys.setrecursionlimit(10**9)
    nest = []
    for _ in range(200000):
        nest = [nest]
    return repr(nest)
