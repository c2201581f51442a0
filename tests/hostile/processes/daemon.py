# expect: forbidden
# why: a double fork and a new session, to outlive whoever kills the group
import os
import time


def f(x):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(30)
        os._exit(0)
    return x * x
