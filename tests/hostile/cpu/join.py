# expect: timeout
# why: waiting for a thread that never ends
import threading


def forever():
    while True:
        pass


def f(x):
    thread = threading.Thread(target=forever)
    thread.start()
    thread.join()
