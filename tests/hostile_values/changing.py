# Containers that another thread changes while they are shown.
import sys
import threading

sys.setswitchinterval(1e-6)
NUMBERS = {n: n for n in range(100)}
SET = set(range(100))
LIST = list(range(100))
STOP = []


def work():
    n = 100
    while not STOP:
        n += 1
        NUMBERS[n] = n
        SET.add(n)
        LIST.append(n)
        NUMBERS.pop(n, None)
        SET.discard(n)
        LIST.pop()


def f():
    a, b, c = NUMBERS, SET, LIST
    thread = threading.Thread(target=work)
    thread.start()
    for i in range(60):
        x = i
    STOP.append(1)
    thread.join()
    assert x == 59
    return x
