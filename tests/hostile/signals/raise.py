# expect: killed
# why: the C library's raise; a process may send a signal to itself, and dies of it
import signal


def f(x):
    signal.raise_signal(signal.SIGKILL)
    return x * x
