# expect: failed | forbidden | exception
# test: assert f(2) == 4
# test: assert f(3) == 9
# why: the compiler that the harness calls for the next test, replaced
import sys


def f(x):
    frame = sys._getframe(1)
    while frame is not None:
        space = frame.f_globals
        if "compile_test" in space:
            for name in ("_compile", "compile_test", "_exec"):
                space[name] = lambda *arguments: (compile("", "<test>", "exec"), False)
        frame = frame.f_back
    return 5
