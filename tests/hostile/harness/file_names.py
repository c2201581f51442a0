# expect: exception AssertionError | failed
# why: an assertion of the program that pretends to stand in the test
def f(x):
    code = compile("def g():\n    assert False, 'of the test'\n", "<test>", "exec")
    space = {}
    exec(code, space)
    space["g"]()
