# expect: timeout
# why: a decorator that waits at import
import time


@time.sleep
@(lambda function: 3600)
def f(x):
    return x * x
