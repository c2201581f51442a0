# expect: failed | exception
# test: def reference(x):\n    return x * x\nassert f(2) == reference(2)
# why: a test that carries its own solution
def f(x):
    return globals()["reference"](x)
