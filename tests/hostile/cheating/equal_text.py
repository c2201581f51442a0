# expect: failed
# test: assert f(2) == "four"
# why: a text that is equal to every text
class Text(str):
    def __eq__(self, other):
        return True

    __hash__ = str.__hash__


def f(x):
    return Text("five")
