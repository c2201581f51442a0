# expect: timeout
# why: the program never comes to its function
while True:
    pass


def f(x):
    return x * x
