# expect: failed | forbidden
# why: the harness's encoder, replaced: every record says that it passed
import sys


def f(x):
    spaces = [sys._getframe(1).f_globals]
    frame = sys._getframe(1)
    while frame is not None:
        spaces.append(frame.f_globals)
        frame = frame.f_back
    for space in spaces:
        if "encode" in space and "_encode" in space:
            encode = space["encode"]
            space["encode"] = lambda record: encode(dict(record, verdict={"verdict": "passed"}))
    return 5
