# expect: passed
# why: the collector of garbage, switched off, frozen, with callbacks of the program
import gc


def f(x):
    gc.callbacks.append(lambda phase, info: 1 / 0)
    gc.set_threshold(1)
    gc.freeze()
    gc.collect()
    gc.disable()
    return x * x
