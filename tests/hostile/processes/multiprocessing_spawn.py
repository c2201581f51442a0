# expect: forbidden | exception
# why: processes that start from nothing
import multiprocessing


def f(x):
    process = multiprocessing.get_context("spawn").Process(target=abs, args=(x,))
    process.start()
    process.join()
    return x * x
