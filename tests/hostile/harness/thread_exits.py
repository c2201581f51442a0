# expect: passed
# why: an exit of another thread
import sys
import threading


def f(x):
    thread = threading.Thread(target=sys.exit, args=(0,))
    thread.start()
    thread.join()
    return x * x
