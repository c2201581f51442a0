# expect: forbidden
# why: the harness answers into the void
import os


def f(x):
    void = os.open("/dev/null", os.O_RDONLY)
    for descriptor in range(3, 64):
        if descriptor != void:
            os.dup2(void, descriptor)
    return x * x
