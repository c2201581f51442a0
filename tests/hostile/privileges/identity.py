# expect: passed
# test: assert f() == []
# why: back to the rights of who started all this
import os


def f():
    acts = {
        "setuid": lambda: os.setuid(0),
        "setgid": lambda: os.setgid(0),
        "setresuid": lambda: os.setresuid(0, 0, 0),
        "setreuid": lambda: os.setreuid(0, 0),
        "setgroups": lambda: os.setgroups([0]),
        "setegid": lambda: os.setegid(0),
        "setfsuid": lambda: raise_errno(system_call(122, 0)),
        "capset": lambda: raise_errno(system_call(126, 0, 0)),
        "personality": lambda: raise_errno(system_call(135, 0)),
        "arch": lambda: raise_errno(system_call(154, 0, 0, 0)),
        "nice": lambda: os.nice(-5),
        "scheduler": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
        "affinity": lambda: os.sched_setaffinity(0, {0}),
        "setsid": lambda: os.setsid(),
        "setpgid": lambda: os.setpgid(0, 0),
        "umask": lambda: raise_errno(system_call(95, 0)),
    }
    return not_refused(acts) + ["root"] * (os.getuid() == 0)
