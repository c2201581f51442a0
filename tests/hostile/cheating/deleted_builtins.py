# expect: failed | exception
# why: no builtin is left
import builtins


def f(x):
    vars(builtins).clear()
    return 5
