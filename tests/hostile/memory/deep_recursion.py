# expect: exception RecursionError
# why: recursion without end
def f(x):
    return f(x + 1)
