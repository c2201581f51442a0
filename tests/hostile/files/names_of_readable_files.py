# expect: passed
# test: assert f() == []
# why: the same on files that a program may read: its own Python installation
import os


def f():
    path = os.__file__
    folder = os.path.dirname(path)
    return not_refused(
        {
            "write": lambda: os.open(path, os.O_WRONLY),
            "truncate": lambda: os.truncate(path, 0),
            "rename": lambda: os.rename(path, path + ".vigor-hostile"),
            "remove": lambda: os.remove(path + ".vigor-hostile"),
            "link": lambda: os.link(path, folder + "/vigor-hostile"),
            "chmod": lambda: os.chmod(path, 0o777),
            "utime": lambda: os.utime(path),
            "create": lambda: os.open(folder + "/vigor_hostile.py", os.O_WRONLY | os.O_CREAT),
            "cache": lambda: open(folder + "/__pycache__/vigor_hostile.pyc", "wb"),
        }
    )
