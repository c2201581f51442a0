# expect: passed | forbidden
# why: a pipe that holds one page, if it may be made smaller
import fcntl


def f(x):
    fcntl.fcntl(3, getattr(fcntl, "F_SETPIPE_SZ", 1031), 4096)
    return x * x
