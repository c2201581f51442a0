# expect: passed | forbidden
# why: an owner and a signal for what happens on the pipe, a lease, a notification
import fcntl
import signal


def f(x):
    for command, argument in ((8, HOST_PID), (10, signal.SIGKILL), (1024, 1), (1026, 31), (15, b"\1\0\0\0\1\0\0\0")):
        try:
            fcntl.fcntl(3, command, argument)
        except OSError:
            pass
    return x * x
