# expect: failed
# test: def check(g):\n    assert g(2) == 4\ncheck(f)
# why: a test that calls the program by another name
class Anything:
    def __eq__(self, other):
        return True


def f(x):
    return Anything()
