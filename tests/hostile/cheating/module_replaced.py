# expect: failed
# test: import solution; assert solution.f(2) == 4
# why: another object in the place of the module
import sys


class Anything:
    def __getattr__(self, name):
        return lambda *arguments: self

    def __call__(self, *arguments):
        return self

    def __eq__(self, other):
        return other is self


sys.modules["solution"] = Anything()


def f(x):
    return 5
