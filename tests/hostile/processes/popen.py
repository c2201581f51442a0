# expect: forbidden | exception
# why: a shell by os.popen
import os


def f(x):
    return len(os.popen("id").read()) and x * x
