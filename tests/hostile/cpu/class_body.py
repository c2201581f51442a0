# expect: timeout
# why: the body of a class is code, too
class A:
    while True:
        pass
