# expect: output
# seconds: 5
# why: below the text layer
import sys


def f(x):
    while True:
        sys.stdout.buffer.write(b"x" * 1000000)
