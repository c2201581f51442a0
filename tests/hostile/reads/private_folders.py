# expect: passed
# test: assert f() == []
# why: names of files say much, too; a hidden folder may be listed, but must be empty
import os


def f():
    seen = []
    for place in [HOST_FOLDER, HOST_CRATE, HOST_HOME, "/home", "/root", "/tmp", "/var", "/run", "/proc", "/etc", "."]:
        try:
            if os.listdir(place):
                seen.append(place)
        except OSError:
            pass
    return seen
