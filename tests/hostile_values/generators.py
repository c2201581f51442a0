# A generator that cannot be ended, resumed by another thread, and left half-way.
import threading


def endless():
    while True:
        try:
            yield 1
        except GeneratorExit:
            if DONE:
                return
            yield 2


DONE = []


def f():
    a = endless()
    next(a)
    try:
        a.close()
    except RuntimeError:
        b = 1
    thread = threading.Thread(target=next, args=(a,))
    thread.start()
    thread.join()
    c = next(a)
    DONE.append(1)
    a.close()
    d = endless()
    next(d)
    return b + c
