# expect: timeout
# why: whatever is raised is caught
import sys


def f(x):
    while True:
        try:
            raise KeyboardInterrupt
        except BaseException:
            continue
        finally:
            continue
