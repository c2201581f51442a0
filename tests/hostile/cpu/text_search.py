# expect: timeout
# why: a replacement that grows with the square, in C
def f(x):
    text = "a" * 100000
    while True:
        len(text.replace("a", "bb").split("b"))
