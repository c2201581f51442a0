# expect: passed
# test: assert f() == []
# why: descriptors and variables that the engine forgot to take away
import os
import stat


def f():
    found = sorted(set(os.environ) - {"LC_ALL", "PYTHONHASHSEED"})
    for descriptor in range(256):
        try:
            mode = os.fstat(descriptor).st_mode
        except OSError:
            continue
        # The standard streams are /dev/null, and one pipe leads to the harness.
        if not (stat.S_ISCHR(mode) and descriptor < 3 or stat.S_ISFIFO(mode) and descriptor == 3):
            found.append(descriptor)
    return found
