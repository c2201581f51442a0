# expect: forbidden | exception
# why: a library that writes by itself
import sqlite3


def f(x):
    base = sqlite3.connect(HOST_FOLDER + "/vigor-hostile.db")
    base.execute("create table a (b)")
    base.commit()
    return x * x
