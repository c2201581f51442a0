# expect: failed
# test: assert f(2) == {4: "four"}
# why: a key that is equal to every key of its hash
class Key:
    def __hash__(self):
        return hash(4)

    def __eq__(self, other):
        return True


def f(x):
    return {Key(): "four"}
