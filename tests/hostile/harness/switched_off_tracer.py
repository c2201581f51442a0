# expect: passed
# why: a program that removes the tracer keeps its verdict
import sys


def f(x):
    sys.settrace(None)
    frame = sys._getframe()
    while frame is not None:
        frame.f_trace = None
        frame = frame.f_back
    return x * x
