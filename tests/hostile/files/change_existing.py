# expect: passed
# test: assert f() == []
# why: a file that exists and that everyone may write
import os


def f():
    path = HOST_FOLDER + "/writable.txt"
    flags = {
        "write": os.O_WRONLY,
        "read and write": os.O_RDWR,
        "append": os.O_WRONLY | os.O_APPEND,
        "truncate while reading": os.O_RDONLY | os.O_TRUNC,
        "create while reading": os.O_RDONLY | os.O_CREAT,
        "direct": os.O_WRONLY | os.O_DIRECT,
        "unnamed": os.O_TMPFILE | os.O_RDWR,
    }
    acts = {name: (lambda flag=flag: os.open(path, flag)) for name, flag in flags.items()}
    acts["truncate"] = lambda: os.truncate(path, 0)
    acts["unnamed in folder"] = lambda: os.open(HOST_FOLDER, os.O_TMPFILE | os.O_RDWR)
    return not_refused(acts)
