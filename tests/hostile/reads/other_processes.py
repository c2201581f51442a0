# expect: passed
# test: assert f() == []
# why: the memory and the state of the engine, of the zygote and of whoever else


def f():
    reached = []
    for pid in (1, HOST_PID):
        for name, call in {
            "process_vm_readv": (310, pid, 0, 0, 0, 0, 0),
            "process_vm_writev": (311, pid, 0, 0, 0, 0, 0),
            "ptrace attach": (101, 16, pid, 0, 0),
            "ptrace seize": (101, 0x4206, pid, 0, 0),
            "kcmp": (312, pid, pid, 0, 0, 0),
            "pidfd_open": (434, pid, 0),
            "pidfd_getfd": (438, 3, 0, 0),
            "process_madvise": (440, 3, 0, 0, 0, 0),
            "get_robust_list": (274, pid, 0, 0),
            "migrate_pages": (256, pid, 0, 0, 0),
            "move_pages": (279, pid, 0, 0, 0, 0, 0),
            "getpriority": (140, 0, pid),
            "sched_setaffinity": (203, pid, 0, 0),
            "ioprio_get": (252, 1, pid),
            "prlimit": (302, pid, 7, 0, 0),
        }.items():
            if system_call(*call) not in REFUSED:
                reached.append((name, pid))
    return reached
