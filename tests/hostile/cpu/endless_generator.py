# expect: timeout
# why: two generators that pass the ball
def f(x):
    def ball():
        while True:
            yield

    for _ in ball():
        pass
