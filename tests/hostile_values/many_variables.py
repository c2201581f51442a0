# A function with five thousand variables.
BODY = "; ".join(["v%d = %d" % (i, i) for i in range(5000)])
exec(compile("def g():\n    %s\n    for i in range(2000):\n        x = i\n    return x\n" % BODY, "<candidate>", "exec"))


def f():
    return g()
