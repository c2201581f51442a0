# expect: timeout
# why: time passes without work
import time


def f(x):
    time.sleep(3600)
