# expect: passed
# test: assert f() is True
# why: a shell; the C library answers -1 or 127 instead of raising
import os


def f():
    status = os.system("touch %s/vigor-hostile-system" % HOST_FOLDER)
    return status == -1 or os.waitstatus_to_exitcode(status) == 127
