# expect: passed
# why: the lock of imports is never given back
import _imp
import threading


def f(x):
    def hold():
        _imp.acquire_lock()

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    return x * x
