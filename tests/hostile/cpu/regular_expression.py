# expect: timeout
# why: backtracking in C, which no tracer interrupts
import re


def f(x):
    return re.match(r"(a+)+$", "a" * 64 + "b")
