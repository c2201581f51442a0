# expect: passed | timeout
# test: assert f(2) == 4
# test: assert f(2) == 4
# why: the namespace of one test is thrown away when the next begins
class Last:
    def __del__(self):
        while True:
            pass


last = Last()


def f(x):
    return x * x
