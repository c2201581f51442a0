# expect: output
# seconds: 5
# why: lines without end
def f(x):
    while True:
        print("x" * 1000000)
