# expect: passed
# test: assert f() == []
# why: a secret by detours: links, relative ways, other roots
import os


def f():
    secret = HOST_FOLDER + "/secret.txt"
    library = os.path.dirname(os.__file__)
    ways = [
        library + "/.." * 12 + secret,
        "/proc/self/root" + secret,
        "/proc/1/root" + secret,
        "/proc/%d/root" % HOST_PID + secret,
        "/proc/self/cwd" + secret,
        "//" + secret,
        "/dev/fd/../../.." + secret,
        HOST_FOLDER + "/link.txt",
    ]
    return not_refused({way: (lambda way=way: os.open(way, os.O_RDONLY)) for way in ways})
