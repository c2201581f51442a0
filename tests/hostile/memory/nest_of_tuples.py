# expect: passed
# why: a value that is nested deeper than the stack, as a local of a traced function
def f(x):
    nest = ()
    for _ in range(100000):
        nest = (nest,)
    return x * x
