# As deep as the interpreter goes, twice, the second time through `finally`.
def down(n):
    return down(n + 1)


def through(n):
    try:
        return through(n + 1)
    except RecursionError:
        return n
    finally:
        y = [n]


def f():
    try:
        down(0)
    except RecursionError:
        x = 1
    assert through(0) > 500
    return x
