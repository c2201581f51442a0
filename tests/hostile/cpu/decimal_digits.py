# expect: timeout | exception ValueError
# why: a conversion that is quadratic, and refused by newer versions
def f(x):
    return len(str(7 ** 20000000))
