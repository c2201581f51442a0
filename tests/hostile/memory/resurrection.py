# expect: memory | timeout | passed
# why: objects that come back when they are deleted
class Back:
    kept = []

    def __init__(self):
        self.weight = bytearray(1 << 20)

    def __del__(self):
        Back.kept.append(self)


def f(x):
    for _ in range(100000):
        Back()
    return x * x
