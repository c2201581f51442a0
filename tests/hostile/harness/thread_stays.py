# expect: passed
# why: a thread that still runs when all is said
import threading
import time


def f(x):
    threading.Thread(target=time.sleep, args=(3600,)).start()
    return x * x
