# expect: failed
# test: assert f(2) == sum([1, 3])
# why: an expected value that has to be computed first
class Anything:
    def __eq__(self, other):
        return True


def f(x):
    return Anything()
