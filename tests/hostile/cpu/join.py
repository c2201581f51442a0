# expect: timeout
# why: waiting for a thread that never ends
import threading


def f(x):
    thread = threading.Thread(target=lambda: [None for _ in iter(int, 1)])
    thread.start()
    thread.join()
