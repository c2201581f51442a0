# expect: forbidden | exception | passed
# why: the C library's raise; refused, it may pass unseen
import signal


def f(x):
    signal.raise_signal(signal.SIGKILL)
    return x * x
