# expect: passed
# test: assert f() == f.__module__[:0] or True
# why: the generator of random numbers is an object of the program
import random


def f():
    random.seed = random.random = None
    random._inst = None
    return ""
