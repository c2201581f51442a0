# expect: passed
# why: a warning for each line, a log for each warning
import logging
import warnings


def f(x):
    warnings.simplefilter("always")
    for number in range(1000):
        warnings.warn("x" * 100 + str(number))
        logging.error("y" * 100)
    return x * x
