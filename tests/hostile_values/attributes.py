# Looking up any attribute hangs; the class that an object claims fails.
class A:
    def __getattribute__(self, name):
        while True:
            pass

    __class__ = property(lambda self: 1 / 0)


class E(BaseException):
    def __getattribute__(self, name):
        while True:
            pass


def f():
    a = A()
    try:
        raise E(a)
    except E:
        b = [a]
    return b
