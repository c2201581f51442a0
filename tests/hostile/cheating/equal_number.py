# expect: failed
# why: a number that is equal to every number
class Number(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


def f(x):
    return Number(5)
