# expect: failed | exception | killed
# seconds: 5
# test: assert f(2) == 40962
# why: memory that was freed still holds what it held, and a fork inherits it
import ctypes
import re
import sys


def regions(around):
    """Mapped memory around addresses: advice on a page that is not there is refused."""
    advise = ctypes.CDLL(None, use_errno=True).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    step = 1 << 16
    seen = set()
    for address in around:
        for way in (-step, step):
            at = address // step * step
            while at not in seen and len(seen) < 4000 and at > 0 and advise(at, step, 0) == 0:
                seen.add(at)
                at += way
    return seen, step


def f(x):
    sys.settrace(None)
    brk = ctypes.CDLL(None).sbrk
    brk.restype = ctypes.c_void_p
    around = [brk(0) - (1 << 16)] + [id(value) for value in (x, f, sys.modules, re, [], "x" * 600, bytes(70000))]
    pattern = re.compile(rb"f\(2\) == (\d{3,})")
    seen, step = regions(around)
    for at in sorted(seen):
        found = pattern.search(ctypes.string_at(at, step))
        if found:
            return int(found.group(1))
    return None
