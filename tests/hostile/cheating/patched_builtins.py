# expect: failed
# why: every builtin that a harness could rest on, replaced
import builtins


def f(x):
    for name in list(vars(builtins)):
        if not name.startswith("__") and name not in ("None", "True", "False"):
            setattr(builtins, name, lambda *arguments, **named: True)
    builtins.AssertionError = type(builtins)
    builtins.__import__ = None
    return 5
