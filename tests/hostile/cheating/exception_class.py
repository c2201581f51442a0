# expect: exception
# why: a class of exceptions that pretends to be another
class Meta(type):
    def __instancecheck__(cls, instance):
        return True

    __subclasscheck__ = __instancecheck__

    @property
    def __name__(cls):
        raise SystemExit(0)


class Fake(BaseException, metaclass=Meta):
    @property
    def __class__(self):
        return AssertionError


def f(x):
    raise Fake
