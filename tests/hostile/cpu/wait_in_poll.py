# expect: timeout
# why: a wait for an event without a deadline
import select


def f(x):
    return select.poll().poll()
