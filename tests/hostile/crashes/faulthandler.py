# expect: failed | killed
# why: a signal on demand, which may be refused
import faulthandler


def f(x):
    faulthandler._sigsegv()
