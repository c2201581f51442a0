# expect: forbidden
# why: a process that ends well did not pass
import os


def f(x):
    os._exit(0)
