# expect: timeout
# why: a thread that keeps the interpreter for itself, in one operation of C
import sys
import threading
import time


def f(x):
    sys.setswitchinterval(1000)
    threading.Thread(target=lambda: sum(range(10**12)), daemon=True).start()
    time.sleep(0.01)
    return x * x
