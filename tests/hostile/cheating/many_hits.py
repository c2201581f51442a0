# expect: failed
# test: assert f(2) == 4
# test: assert f(2) == 4
# test: assert f(2) == 4
# why: an answer that depends on how often it was asked, kept outside of the program's own namespace
import sys


def f(x):
    sys.asked = getattr(sys, "asked", 0) + 1
    return sys.asked + 4
