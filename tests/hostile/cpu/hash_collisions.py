# expect: timeout
# why: keys that all fall together
class Key:
    def __hash__(self):
        return 1

    def __eq__(self, other):
        return self is other


def f(x):
    return len({Key(): 1 for _ in range(20000)})
