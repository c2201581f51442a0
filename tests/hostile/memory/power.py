# expect: timeout | memory
# why: a number whose digits fill the memory, in one operation
def f(x):
    return (x + 1) ** (10**10) % 5
