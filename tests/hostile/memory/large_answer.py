# expect: failed | memory | forbidden | exception
# seconds: 5
# why: an answer larger than what any record should hold
def f(x):
    return ["x" * 1000] * 10000
