# expect: passed
# seconds: 5
# why: much output, but not without end
def f(x):
    for _ in range(1000):
        print("x" * 10000)
    return x * x
