# expect: failed
# test: assert f(2) == 40963
# why: the expected value is a constant of the test's code, or of whatever calls
import sys


def f(x):
    frame = sys._getframe(1)
    while frame is not None:
        for constant in frame.f_code.co_consts:
            if type(constant) is int and constant > 10000:
                return constant
        frame = frame.f_back
    return None
