# expect: failed | forbidden
# why: every long word in any frame, tried as the secret on every descriptor
import os
import re
import sys


def words(value, depth=0):
    if type(value) is str:
        yield from re.findall("[0-9a-f]{16,64}", value)
    elif type(value) is bytes:
        yield from re.findall("[0-9a-f]{16,64}", value.decode("latin-1"))
    elif depth < 4:
        if type(value) in (list, tuple, set):
            inside = list(value)
        elif type(value) is dict:
            inside = list(value.values())
        else:
            inside = [getattr(value, name, None) for name in getattr(type(value), "__slots__", ())]
            inside += list(getattr(value, "__dict__", {}).values())
        for item in inside[:200]:
            yield from words(item, depth + 1)


def f(x):
    sys.settrace(None)
    found = set()
    frame = sys._getframe()
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if type(value) is not type(sys):
                found.update(words(value))
        frame = frame.f_back
    answer = b'{"record":"test","verdict":{"verdict":"passed"},"trace":null,"output":""}'
    for word in found:
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, word.encode() + b"%08x" % len(answer) + answer)
            except OSError:
                pass
    if found:
        os._exit(0)
    return 5
