# Variables whose names are no strings, or no words; code objects that name things by objects of the program.
import sys


class K:
    def __init__(self, number):
        self.number = number

    def __hash__(self):
        return self.number

    def __eq__(self, other):
        while True:
            pass

    def __getitem__(self, index):
        while True:
            pass


class S(str):
    def hang(self, *args):
        while HOT:
            pass
        return NotImplemented

    __eq__ = __ne__ = __getitem__ = hang

    def __hash__(self):
        while HOT:
            pass
        return 1


HOT = []


def g(a):
    b = a
    return b


SPOILT = []
for change in ({"co_name": S("n")}, {"co_filename": S("<candidate>")}, {"co_varnames": (S("a"), S("b"))}):
    try:
        SPOILT.append(type(g)(g.__code__.replace(**change), {}))
    except (AttributeError, SystemError, TypeError):
        pass


def f():
    names = locals()
    names[K(1)] = 1
    names["\ud800"] = 2
    names["two\nlines"] = 3
    same = sys._getframe().f_locals
    try:
        same[K(2)] = 1
        same[7] = 3
    except TypeError:
        pass
    del names, same
    HOT.append(1)
    for spoilt in SPOILT:
        spoilt(1)
    HOT.clear()
    return 1
