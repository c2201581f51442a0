# expect: failed | exception
# test: assert f(2) == 40965
# why: the source of the test, in the variables of whatever calls
import re
import sys


def texts(value, depth=0):
    if type(value) is str:
        yield value
    elif type(value) in (list, tuple, set) and depth < 4:
        for item in value:
            yield from texts(item, depth + 1)
    elif type(value) is dict and depth < 4:
        for item in list(value.values()):
            yield from texts(item, depth + 1)


def f(x):
    frame = sys._getframe(1)
    while frame is not None:
        for text in texts(dict(frame.f_locals)):
            found = re.search(r"f\(2\)\s*==\s*(\d+)$", text)
            if found:
                return int(found.group(1))
        frame = frame.f_back
    return None
