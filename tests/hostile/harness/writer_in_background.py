# expect: forbidden | timeout
# why: a thread that writes beside the harness
import os
import threading
import time


def f(x):
    def write():
        while True:
            os.write(3, b"x")

    threading.Thread(target=write, daemon=True).start()
    time.sleep(0.05)
    return x * x
