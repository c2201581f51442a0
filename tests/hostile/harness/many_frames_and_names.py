# expect: passed
# seconds: 3
# why: lines times locals, which a tracer could pay for
source = ["def g(x):"] + ["    v%d = x" % number for number in range(800)] + ["    return x * x"]
exec(compile("\n".join(source), "<candidate>", "exec"))


def f(x):
    for _ in range(3):
        g(x)
    return g(x)
