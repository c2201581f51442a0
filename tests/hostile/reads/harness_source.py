# expect: passed
# test: assert f() == []
# why: the harness is not a file that a program could study
import linecache
import os
import sys


def f():
    found = []
    for path in sys.path + [os.getcwd(), os.path.dirname(sys.executable)]:
        for folder, folders, names in os.walk(path):
            del folders[:]
            found += [name for name in names if "zygote" in name or "vigor" in name]
    if linecache.getlines("<vigor>"):
        found.append("lines")
    return found
