# expect: passed | exception
# why: lines that the source does not have
def f(x):
    for line in (0, -5, 1 << 30, (1 << 31) - 1):
        code = f.__code__.replace(co_firstlineno=max(line, 0), co_filename="<candidate>")
        type(f)(compile("1\n" * 3, "<candidate>", "exec").replace(co_firstlineno=max(line, 0)), {})()
    return x * x
