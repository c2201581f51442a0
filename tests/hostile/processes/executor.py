# expect: forbidden | exception
# why: processes behind a polite interface
from concurrent.futures import ProcessPoolExecutor


def f(x):
    with ProcessPoolExecutor(2) as executor:
        return executor.submit(pow, x, 2).result()
