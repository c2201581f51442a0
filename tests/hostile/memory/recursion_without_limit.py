# expect: exception RecursionError | killed | memory | timeout
# why: recursion without a limit, through C code
import sys


def f(x):
    sys.setrecursionlimit(1 << 30)
    return sorted([x], key=f)
