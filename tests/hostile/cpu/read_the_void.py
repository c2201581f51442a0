# expect: exception EOFError | passed
# test: assert f() == ""
# why: nobody types
import sys


def f():
    return sys.stdin.read() + input()
