# expect: memory
# why: a list that grows
def f(x):
    kept = []
    while True:
        kept.append([0] * 1000000)
