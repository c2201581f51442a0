# expect: exception Evil
# why: an exception whose every method lies, raises or hangs
class Evil(Exception):
    def __init__(self):
        pass

    def __str__(self):
        while True:
            pass

    __repr__ = __eq__ = __hash__ = __reduce__ = __str__

    def __getattribute__(self, name):
        raise SystemExit(0)


def f(x):
    raise Evil
