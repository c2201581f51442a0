# expect: exception KeyboardInterrupt
# why: an exception that many harnesses let through
def f(x):
    raise KeyboardInterrupt
