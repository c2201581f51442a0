# expect: memory
# why: a text that doubles
def f(x):
    text = "x"
    while True:
        text += text
