# expect: passed
# why: the plain case
def f(x):
    return x * x
