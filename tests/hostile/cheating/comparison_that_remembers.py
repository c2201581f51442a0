# expect: failed
# why: a comparison that takes the expected value and keeps it for the next question
class Mirror:
    seen = []

    def __eq__(self, other):
        Mirror.seen.append(other)
        return other == Mirror.seen[-1]

    def __repr__(self):
        return "4"


def f(x):
    return Mirror()
