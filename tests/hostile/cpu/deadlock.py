# expect: timeout
# why: a lock that its owner wants twice
import threading


def f(x):
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
