# expect: failed | exception
# test: expected = 4\nassert f(2) == expected
# why: a test that names its expected value before it compares
def f(x):
    return globals()["expected"]
