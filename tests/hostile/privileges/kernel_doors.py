# expect: passed
# test: assert f() == []
# why: large interfaces of the kernel, where its holes are
# The arguments are wrong on purpose: a kernel that is reached answers EFAULT or EINVAL, and nothing happens.


def f():
    calls = {
        "bpf": (321, 0, 0, 0),
        "perf_event_open": (298, 0, 0, 0, 0, 0),
        "userfaultfd": (323, 0),
        "io_uring_setup": (425, 1, 0),
        "io_uring_enter": (426, 3, 0, 0, 0, 0),
        "io_uring_register": (427, 3, 0, 0, 0),
        "keyctl": (250, 0, 0, 0, 0, 0),
        "add_key": (248, 0, 0, 0, 0, 0),
        "request_key": (249, 0, 0, 0, 0),
        "kexec_load": (246, 0, 0, 0, 0),
        "kexec_file_load": (320, 0, 0, 0, 0, 0),
        "init_module": (175, 0, 0, 0),
        "finit_module": (313, 3, 0, 0),
        "delete_module": (176, 0, 0),
        "reboot": (169, 0, 0, 0, 0),
        "acct": (163, 0),
        "syslog": (103, 10, 0, 0),
        "settimeofday": (164, 0, 0),
        "clock_settime": (227, 0, 0),
        "adjtimex": (159, 0),
        "sethostname": (170, 0, -1),
        "setdomainname": (171, 0, -1),
        "iopl": (172, 3),
        "ioperm": (173, 0, 1, 1),
        "modify_ldt": (154, 0, 0, 0),
        "vhangup": (153,),
        "lookup_dcookie": (212, 0, 0, 0),
        "seccomp": (317, 0, 0, 0),
        "landlock_create_ruleset": (444, 0, 0, 0),
        "landlock_restrict_self": (446, 3, 0),
        "memfd_secret": (447, 0),
        "pkey_alloc": (330, 0, 0),
        "membarrier": (324, 0, 0, 0),
        "mbind": (237, 0, 0, 0, 0, 0, 0),
        "set_mempolicy": (238, 0, 0, 0),
        "remap_file_pages": (216, 0, 0, 0, 0, 0),
        "mlockall": (151, 0),
        "io_setup": (206, 1, 0),
        "timerfd": (283, 1, 0),
        "eventfd": (290, 0, 0),
        "signalfd": (289, -1, 0, 8, 0),
        "pipe": (293, 0, 0),
        "rseq_slice": (470, 0, 0),
    }
    return [name for name, call in calls.items() if system_call(*call) not in REFUSED]
