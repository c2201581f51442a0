# Bodies of classes, and functions, whose variables live in an object of the program.
class Space(dict):
    def keys(self):
        while True:
            pass

    __iter__ = items = values = keys


class Meta(type):
    def __prepare__(name, bases):
        return Space()

    def __new__(cls, name, bases, space):
        return type.__new__(cls, name, bases, {})


def g():
    x = 1
    return x


def f():
    class W(metaclass=Meta):
        x = 1
        try:
            1 / 0
        except ZeroDivisionError:
            pass

    exec(g.__code__, {}, Space())
    return 1
