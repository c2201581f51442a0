# expect: failed | forbidden | exception
# why: a hook that ends the process well when the harness does anything
import os
import sys


def f(x):
    sys.addaudithook(lambda name, arguments: os._exit(0))
    return 5
