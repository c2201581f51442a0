# expect: failed
# test: assert f(2) == [4, {"a": 4}]
# why: the same deep inside of honest containers
class Anything:
    def __eq__(self, other):
        return True


def f(x):
    return [Anything(), {"a": Anything()}]
