# Members of sets are shown in the order of their texts, so all of them have to be made: here two million at a time.
INNER = frozenset(range(2000))
OUTER = frozenset([INNER | {i} for i in range(-1000, 0)])


def f():
    a = OUTER
    x = 0
    for i in range(300):
        x += i
    return x
