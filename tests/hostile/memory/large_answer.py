# expect: failed | memory | forbidden | exception | timeout
# why: an answer larger than what any record should hold
def f(x):
    return ["x" * 1000] * 100000
