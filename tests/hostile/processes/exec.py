# expect: forbidden
# why: another program in the place of this one
import os


def f(x):
    os.execv("/bin/true", ["true"])
