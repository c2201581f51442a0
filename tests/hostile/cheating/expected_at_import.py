# expect: failed | exception
# test: assert f(2) == 40964
# why: the same, before the test began
import re
import sys

answer = None
frame = sys._getframe()
while frame is not None:
    for text in list(frame.f_locals.values()):
        found = re.search(r"==\s*(\d+)$", text) if type(text) is str else None
        if found:
            answer = int(found.group(1))
    frame = frame.f_back


def f(x):
    return answer
