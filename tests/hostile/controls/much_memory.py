# expect: passed
# seconds: 5
# why: a hundred megabytes are fair
def f(x):
    return len(bytearray(100 << 20)) // (25 << 20)
