# expect: forbidden
# why: the beginning of an answer, and no end
import os


def f(x):
    os.write(3, b"0" * 32 + b"00001000" + b'{"record":')
    return x * x
