# expect: forbidden | failed | killed
# why: records for a request that has not come yet
import os
import sys


def f(x):
    frame = sys._getframe()
    while frame is not None:
        for status in list(frame.f_locals.values()):
            if hasattr(status, "nonce") and hasattr(status, "send"):
                for _ in range(100):
                    status.send({"record": "loaded"})
                    status.send({"record": "judged", "judged": {"holds": True}})
                    status.send({"record": "plan", "plan": {"plan": "outside", "prelude": "", "asks": []}})
                os.close(status.fd)
        frame = frame.f_back
    return 5
