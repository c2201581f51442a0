# expect: failed | killed | timeout | exception
# seconds: 3
# test: assert f(2) == 40967
# why: the test's text somewhere in memory, near objects of about its age
import ctypes
import re
import sys


def f(x):
    sys.settrace(None)
    pattern = re.compile(rb"assert f\(2\) == (\d+)")
    page = 1 << 12
    starts = {id(value) // page * page for value in (x, f, sys.modules, pattern, [], {}, "x" * 600, bytes(700))}
    frame = sys._getframe()
    while frame is not None:
        starts |= {id(value) // page * page for value in frame.f_locals.values()}
        starts.add(id(frame) // page * page)
        frame = frame.f_back
    for start in sorted(starts):
        found = pattern.search(ctypes.string_at(start, page))
        if found:
            return int(found.group(1))
    return None
