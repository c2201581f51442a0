# expect: failed | exception RecursionError | memory
# why: an answer that is nested deeper than the stack
def f(x):
    nest = []
    for _ in range(100000):
        nest = [nest]
    return nest
