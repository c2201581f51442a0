# expect: forbidden
# why: the C library's own fork and exec
import os


def f(x):
    os.posix_spawn("/bin/true", ["true"], {})
    return x * x
