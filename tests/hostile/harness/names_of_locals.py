# expect: passed
# why: locals with names that no source has
def f(x):
    exec("pass")
    space = {"": x, "\ud800": x, "a" * 10000: x, "\n": x}
    exec("def g(x):\n    y = x\n    return y\n", space)
    g = space["g"].__code__.replace(co_name="\ud800\0\n", co_filename="<candidate>", co_varnames=("\ud800", "b" * 10000))
    return type(f)(g, space)(x) * x
