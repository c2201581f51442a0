# Classes whose names and hashes are methods, and names that are no words.
class Meta(type):
    @property
    def __name__(cls):
        while True:
            pass

    def __hash__(cls):
        while True:
            pass

    def __eq__(cls, other):
        while True:
            pass


class A(metaclass=Meta):
    pass


class E(Exception, metaclass=Meta):
    pass


class Name(str):
    def __getitem__(self, index):
        while True:
            pass


def f():
    a = A()
    b = [[[[[a, [a]]]]]]
    c = type("x" * 10**6, (), {})()
    d = type("two\nlines \x1b[2J", (), {})()
    e = type(Name("n"), (), {})()
    try:
        raise E(a)
    except E as error:
        g = [error]
    return g
