# expect: killed | exception | timeout | failed
# why: a code object that no compiler would write
def f(x):
    code = f.__code__.replace(co_code=bytes([100, 255] * 50 + [83, 0]), co_consts=())
    exec(code)
    return x * x
