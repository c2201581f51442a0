# expect: forbidden | exception
# why: a server that forks for others
import multiprocessing


def f(x):
    process = multiprocessing.get_context("forkserver").Process(target=abs, args=(x,))
    process.start()
    process.join()
    return x * x
