# expect: forbidden
# why: the plainest way to have a second process
import os


def f(x):
    if os.fork() == 0:
        os._exit(0)
    return x * x
