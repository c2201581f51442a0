# expect: output
# seconds: 5
# why: a flood that catches whatever ends it
def f(x):
    while True:
        try:
            print("x" * 1000000)
        except BaseException:
            pass
