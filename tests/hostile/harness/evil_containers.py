# expect: passed
# why: containers of the program that change, grow or hang while they are looked at
class Endless(list):
    def __iter__(self):
        while True:
            yield self

    def __len__(self):
        return 1 << 60


class Growing(dict):
    def items(self):
        self[len(self)] = self
        return dict.items(self)

    __iter__ = keys = values = items


def f(x):
    a, b = Endless([1]), Growing(a=1)
    b["self"] = b
    c = [a, b]
    c.append(c)
    return x * x
