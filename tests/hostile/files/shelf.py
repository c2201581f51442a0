# expect: forbidden | exception
# why: a dictionary on disk
import shelve


def f(x):
    with shelve.open(HOST_FOLDER + "/vigor-hostile-shelf") as shelf:
        shelf["a"] = x
    return x * x
