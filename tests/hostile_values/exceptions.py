# Exceptions of built-in classes whose text is made of objects of the program.
class R:
    def __repr__(self):
        while True:
            pass

    __str__ = __repr__


MAKERS = [
    (OSError, (1, "x")),
    (SyntaxError, ("m",)),
    (UnicodeEncodeError, ("a", "b", 0, 1, "r")),
    (KeyError, (R(),)),
    (StopIteration, (R(),)),
    (ImportError, ("x",)),
    (ValueError, (10**10**5,)),
    (TypeError, ("x" * 10**7,)),
]


def spoil(error):
    for name in ("filename", "filename2", "msg", "reason", "encoding", "strerror", "errno", "name", "path"):
        try:
            setattr(error, name, R())
        except (TypeError, AttributeError):
            pass
    return error


ERRORS = [spoil(kind(*args)) for kind, args in MAKERS]


def f():
    for error in ERRORS:
        try:
            raise error
        except Exception:
            pass
    return len(ERRORS)
