# expect: exception Quiet
# why: an exception that no `except Exception` sees
class Quiet(BaseException):
    pass


def f(x):
    raise Quiet
