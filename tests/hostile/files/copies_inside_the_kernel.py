# expect: passed
# test: assert f() == []
# why: data that moves between descriptors without a write
import os


def f():
    source = os.open(os.__file__, os.O_RDONLY)
    pair = os.open("/dev/null", os.O_RDONLY)
    return not_refused(
        {
            "sendfile": lambda: os.sendfile(pair, source, 0, 10),
            "copy_file_range": lambda: raise_errno(system_call(326, source, 0, pair, 0, 10, 0)),
            "splice": lambda: raise_errno(system_call(275, source, 0, pair, 0, 10, 0)),
            "tee": lambda: raise_errno(system_call(276, source, pair, 10, 0)),
            "vmsplice": lambda: raise_errno(system_call(278, pair, 0, 0, 0)),
            "fallocate": lambda: os.posix_fallocate(pair, 0, 1),
            "sync": lambda: raise_errno(system_call(162)),
            "flock": lambda: raise_errno(system_call(73, source, 2)),
        }
    )
