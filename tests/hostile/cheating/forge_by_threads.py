# expect: failed | forbidden
# why: the frames of the main thread, seen from another
import os
import sys
import threading


def f(x):
    def look():
        for frame in sys._current_frames().values():
            while frame is not None:
                for value in list(frame.f_locals.values()):
                    if hasattr(value, "nonce") and hasattr(value, "send"):
                        value.send({"record": "test", "verdict": {"verdict": "passed"}, "trace": None, "output": ""})
                        os._exit(0)
                frame = frame.f_back

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return 5
