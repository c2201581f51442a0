# expect: passed | forbidden
# why: the pipe's other mode, in which a write can fail half way
import fcntl
import os


def f(x):
    os.set_blocking(3, False)
    fcntl.fcntl(3, fcntl.F_SETFL, os.O_APPEND | os.O_NONBLOCK)
    return x * x
