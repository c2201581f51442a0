# expect: passed | failed
# why: the namespace that the test needs, emptied
import sys


def f(x):
    answer = x * x
    globals().clear()
    return answer
