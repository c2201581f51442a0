# expect: output
# seconds: 5
# why: the same on the other stream
import sys


def f(x):
    while True:
        sys.stderr.write("x" * 1000000)
