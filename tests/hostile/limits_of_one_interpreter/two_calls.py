# expect: failed
# test: assert f(2) == f(-2) == 4
# why: the same with an assertion of two calls
class Anything:
    def __eq__(self, other):
        return True


def f(x):
    return Anything()
