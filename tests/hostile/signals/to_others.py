# expect: passed
# test: assert f() == []
# why: signal 0 only asks, and asking is refused already; 9 for whoever is not there
import os


def f():
    acts = {pid: (lambda pid=pid: os.kill(pid, 0)) for pid in (1, HOST_PID, os.getppid(), -1, 0)}
    acts["group"] = lambda: os.killpg(0, 0)
    acts["thread"] = lambda: raise_errno(system_call(234, os.getppid(), os.getppid(), 0))
    acts["tkill"] = lambda: raise_errno(system_call(200, os.getpid(), 0))
    acts["queue"] = lambda: raise_errno(system_call(129, os.getppid(), 0, 0))
    acts["pidfd"] = lambda: raise_errno(system_call(424, 3, 0, 0, 0))
    return not_refused(acts)
