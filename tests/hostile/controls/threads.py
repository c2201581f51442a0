# expect: passed
# seconds: 5
# why: threads that end
from concurrent.futures import ThreadPoolExecutor


def f(x):
    with ThreadPoolExecutor(4) as executor:
        return sum(executor.map(lambda y: y, [1] * x * x))
