# expect: failed
# test: assert sorted(f(2)) == [1, 2]
# test: assert abs(f(2) - 5) < 1e-6
# test: assert len(f(2)) == 2
# why: builtins that a test applies to the answer, defined by the program
class Anything:
    def __eq__(self, other):
        return True

    __lt__ = __gt__ = __le__ = __ge__ = __eq__

    def __sub__(self, other):
        return self

    def __len__(self):
        return 3

    def __iter__(self):
        return iter([self])

    __abs__ = __sub__


def abs(value):
    return Anything()


def sorted(value):
    return Anything()


def len(value):
    return Anything()


def f(x):
    return Anything()
