# expect: failed
# why: names of the module that a test could meet
AssertionError = KeyboardInterrupt
Exception = BaseException = ValueError = None
__builtins__ = {}


def f(x):
    return 5
