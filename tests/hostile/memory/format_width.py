# expect: memory
# why: a width that asks for a text of ten gigabytes
def f(x):
    return "%10000000000d" % x
