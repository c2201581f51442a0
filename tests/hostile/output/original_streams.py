# expect: output
# seconds: 5
# why: streams that Python keeps in reserve
import sys


def f(x):
    while True:
        sys.__stdout__.write("x" * 1000000)
