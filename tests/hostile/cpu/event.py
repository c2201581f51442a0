# expect: timeout
# why: waiting for what nobody does
import threading


def f(x):
    threading.Event().wait()
