# expect: passed
# why: classes that answer every question with an error, as locals of a traced function
class Meta(type):
    def __getattribute__(cls, name):
        raise SystemExit(0)

    def __instancecheck__(cls, other):
        raise SystemExit(0)


class Evil(metaclass=Meta):
    def __getattribute__(self, name):
        raise SystemExit(0)

    def __bool__(self):
        raise SystemExit(0)

    __len__ = __hash__ = __iter__ = __bool__


def f(x):
    value, kind = Evil(), Evil
    values = [value, kind, {1: value}]
    return x * x
