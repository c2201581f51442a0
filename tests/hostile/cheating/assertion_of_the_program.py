# expect: exception AssertionError
# why: an assertion of the program is not one of the test
def f(x):
    assert x == 4
