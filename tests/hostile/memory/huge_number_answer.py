# expect: failed
# why: an answer whose decimal digits would take minutes
def f(x):
    return 1 << 30000000
