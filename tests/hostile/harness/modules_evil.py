# expect: passed
# expect: exception ModuleNotFoundError
# test: assert f(2) == 4
# test: assert f(2) == 4
# why: the table of modules is an object of the program, and what a test changes stays for the next one
import sys


def f(x):
    for name in list(sys.modules):
        sys.modules[name] = None
    return x * x
