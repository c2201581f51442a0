# expect: failed | forbidden | exception
# why: a failure that looks like the harness's own, which may be forgiven
import os
import sys


def f(x):
    frame = sys._getframe()
    while frame is not None:
        for status in list(frame.f_locals.values()):
            if hasattr(status, "nonce") and hasattr(status, "send"):
                status.send({"record": "harness", "message": "the machine is tired"})
                os._exit(0)
        frame = frame.f_back
    return 5
