# expect: failed
# why: the plain wrong answer
def f(x):
    return x * x + 1
