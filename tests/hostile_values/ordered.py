# An ordered dictionary finds its order by the hashes of its keys.
import collections

HOT = []


class K:
    def __hash__(self):
        while HOT:
            pass
        return 1

    def __eq__(self, other):
        while HOT:
            pass
        return self is other


def f():
    a = collections.OrderedDict((K(), i) for i in range(5))
    b = collections.OrderedDict([((K(),), 1), ((K(),), 2)])
    a.move_to_end(next(iter(a)))
    HOT.append(1)
    c = 1
    d = 2
    HOT.clear()
    e = collections.OrderedDict([(1, 2), (3, 4)])
    e.move_to_end(1)
    return d
