# expect: memory
# why: one allocation of more than there is
def f(x):
    return bytearray(1 << 40)
