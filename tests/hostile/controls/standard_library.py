# expect: passed
# seconds: 5
# why: what ordinary programs import
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import heapq
import itertools
import json
import math
import re
import statistics
import string
import typing


@dataclasses.dataclass(order=True)
class Point:
    x: int
    y: typing.Optional[int] = None


class Colour(enum.Enum):
    RED = 1


@functools.lru_cache(maxsize=None)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def f(x):
    parts = [
        Point(1) == Point(1),
        decimal.Decimal("0.1") * 3 == decimal.Decimal("0.3"),
        fractions.Fraction(1, 3) * 3 == 1,
        Colour(1) is Colour.RED,
        fib(50) == 12586269025,
        json.loads(json.dumps({"a": [1, None]})) == {"a": [1, None]},
        re.sub(r"\d+", "#", "a1b22") == "a#b#",
        collections.Counter("aab").most_common(1) == [("a", 2)],
        datetime.date(2024, 2, 29).isoformat() == "2024-02-29",
        heapq.nsmallest(1, [3, 1, 2]) == [1],
        list(itertools.accumulate([1, 2, 3])) == [1, 3, 6],
        math.gcd(12, 18) == 6,
        statistics.median([1, 5, 3]) == 3,
        string.ascii_lowercase[:3] == "abc",
    ]
    return 4 if all(parts) else parts
