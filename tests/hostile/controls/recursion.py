# expect: passed
# seconds: 5
# why: recursion almost as deep as Python allows
def f(x):
    def down(n):
        return 0 if n == 0 else 1 + down(n - 1)

    return down(900) - 896
