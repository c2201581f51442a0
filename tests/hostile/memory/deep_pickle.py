# expect: exception RecursionError | memory | killed
# why: nesting that a pickler follows in C
import pickle


def f(x):
    nest = []
    for _ in range(200000):
        nest = [nest]
    return len(pickle.dumps(nest))
