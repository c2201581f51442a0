# expect: exception RuntimeError | memory
# why: threads are allowed, as many as the memory holds
import threading
import time


def f(x):
    for _ in range(100000):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    return x * x
