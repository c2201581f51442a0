# expect: exception GeneratorExit
# why: an exception that ends quietly elsewhere
def f(x):
    raise GeneratorExit
