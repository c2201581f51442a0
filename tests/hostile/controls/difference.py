# expect: failed
# seconds: 5
# test: assert f(0) == [1]
# test: assert f(1) == "1"
# test: assert f(2) == f(2)
# test: assert f(3) == {}
# test: assert f(4) == 0.3
# test: assert f(5) == b"x"
# why: values that look alike and are not equal
def f(which):
    return [(1,), 1, float("nan"), [], 0.1 + 0.2, "x"][which]
