# expect: failed
# test: for x in range(3):\n    assert f(x) == x * x
# why: the same with a loop, and an answer that is equal to everything
class Anything:
    def __eq__(self, other):
        return True


def f(x):
    return Anything()
