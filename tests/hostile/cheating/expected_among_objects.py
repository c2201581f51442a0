# expect: failed | exception
# test: assert f(2) == 40966
# why: whatever holds the test, found by the collector of garbage instead of by frames
import gc
import re


def f(x):
    pattern = re.compile(r"assert f\(2\) == (\d+)$")
    for holder in gc.get_objects():
        try:
            inside = list(holder.values()) if type(holder) is dict else list(holder)
        except Exception:
            continue
        for text in inside:
            found = pattern.match(text) if type(text) is str else None
            if found:
                return int(found.group(1))
    return None
