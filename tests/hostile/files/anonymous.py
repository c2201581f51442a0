# expect: passed
# test: assert f() == []
# why: files without a name, which could hold code or fill memory that no limit counts
import os


def f():
    return not_refused(
        {
            "memfd": lambda: os.memfd_create("vigor-hostile"),
            "secret": lambda: raise_errno(system_call(447, 0)),
            "shm": lambda: raise_errno(system_call(29, 0, 4096, 0o1600)),
            "message queue": lambda: raise_errno(system_call(240, b"vigor-hostile", 0o102, 0o600, None)),
            "semaphore": lambda: raise_errno(system_call(64, 0, 1, 0o1600)),
        }
    )
