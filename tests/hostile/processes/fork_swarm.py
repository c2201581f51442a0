# expect: timeout
# why: a fork bomb that swallows every refusal
import os


def f(x):
    while True:
        try:
            if os.fork() == 0:
                os._exit(0)
        except OSError:
            pass
