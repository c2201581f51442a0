# expect: forbidden
# why: more than any answer
import os


def f(x):
    while True:
        os.write(3, b"\0" * 65536)
