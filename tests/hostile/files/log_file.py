# expect: forbidden | exception
# why: logging to a file, and a core dump beside it
import logging.handlers


def f(x):
    handler = logging.handlers.RotatingFileHandler(HOST_FOLDER + "/vigor-hostile.log")
    logging.getLogger().addHandler(handler)
    logging.error("x")
    return x * x
