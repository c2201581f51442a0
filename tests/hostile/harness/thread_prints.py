# expect: passed
# why: a thread that goes on printing
import threading
import time


def f(x):
    def talk():
        while True:
            print("x")
            time.sleep(0.001)

    threading.Thread(target=talk, daemon=True).start()
    return x * x
