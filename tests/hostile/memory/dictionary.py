# expect: memory | timeout
# why: many small objects instead of a large one
def f(x):
    kept = {}
    for number in range(10**9):
        kept[number] = {number: number}
    return x * x
