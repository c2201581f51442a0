# expect: timeout
# why: a loop in C
def f(x):
    return sum(range(10**12))
