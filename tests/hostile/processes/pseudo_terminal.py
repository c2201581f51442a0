# expect: forbidden | exception
# why: a fork with a terminal
import pty


def f(x):
    pid, _ = pty.fork()
    return x * x
