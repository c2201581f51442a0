# expect: timeout
# why: some threads, and the main one starves
import threading


def f(x):
    def spin():
        while True:
            pass

    for _ in range(2):
        threading.Thread(target=spin, daemon=True).start()
    spin()
