# expect: failed
# why: an object that says that it is a number
class Number:
    __class__ = int

    def __eq__(self, other):
        return other

    def __index__(self):
        return 4

    __int__ = __index__


def f(x):
    return Number()
