# expect: failed | exception
# test: assert f(2) == 40961
# why: the process that forks keeps variables, too: whatever bytes or text stands in any frame
import re
import sys


def f(x):
    frame = sys._getframe(1)
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if type(value) is str:
                value = value.encode("utf-8", "replace")
            found = re.search(rb"f\(2\) == (\d+)", value) if type(value) is bytes else None
            if found:
                return int(found.group(1))
        frame = frame.f_back
    return None
