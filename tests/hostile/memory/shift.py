# expect: memory
# why: a number of two gigabytes
def f(x):
    return 1 << (1 << 34)
