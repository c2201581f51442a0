# expect: timeout
# why: collections of garbage without end
import gc


def f(x):
    kept = [[] for _ in range(10000)]
    while True:
        gc.collect()
