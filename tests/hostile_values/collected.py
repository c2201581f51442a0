# Garbage whose finaliser empties a container that may be shown at that moment.
import gc


class D:
    def __init__(self):
        self.me = self

    def __del__(self):
        NUMBERS.clear()


NUMBERS = dict.fromkeys(range(50))


def f():
    gc.set_threshold(1)
    numbers = NUMBERS
    for i in range(40):
        d = D()
        numbers.update(dict.fromkeys(range(50)))
    gc.set_threshold(700)
    return i
