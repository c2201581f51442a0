# expect: killed | forbidden
# why: the C library's abort, which raises a signal and, refused, ends otherwise
import os


def f(x):
    os.abort()
