# expect: passed
# why: text that would drive a terminal or break a file of lines
def f(x):
    print("\x1b]0;title\x07\x1b[2J\r\n\0\u202e\u2028\ud800\ufeff" * 100)
    return x * x
