# expect: passed
# seconds: 5
# test: assert f(0) == 4
# test: assert f(1) == 1
# test: assert f(2) == {"a": 1, "b": [2, (3, None)]}
# test: assert f(3) == [1, 2.0, "x", b"y", 2j, True]
# test: assert f(4) == {1, 2, 3}
# test: assert f(5) == 0
# test: assert f(6) == ""
# test: assert f(7) == None
# test: assert f(8) == (1,)
# test: assert f(9) == -1.5e300
# test: assert f(10) == "äöü\u20ac\U0001f40d\t\0"
# test: assert f(11) == 2**200
# test: assert f(12) == [1, 1, 2]
# test: assert f(13) == frozenset([1])
# test: assert [] == f(14)
# why: values that are equal in Python's own sense, whatever their types
import collections
import enum


class Number(int):
    pass


class Colour(enum.IntEnum):
    NONE = 0


class Text(str):
    pass


def f(which):
    return [
        4.0,
        True,
        collections.OrderedDict([("b", [2, (3, None)]), ("a", 1)]),
        [1.0, 2, "x", b"y", 2j, 1],
        frozenset([3, 2, 1]),
        -0.0,
        "",
        None,
        (1,),
        -1.5e300,
        "äöü\u20ac\U0001f40d\t\0",
        1 << 200,
        sorted(collections.Counter([2, 1, 1]).elements()),
        {1},
        [],
    ][which]
