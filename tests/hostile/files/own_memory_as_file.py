# expect: passed
# test: assert f() == []
# why: files of the kernel that change a process or the machine when written
import os


def f():
    paths = [
        "/proc/self/mem",
        "/proc/self/oom_score_adj",
        "/proc/self/uid_map",
        "/proc/self/comm",
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
        "/sys/kernel/uevent_helper",
        "/sys/fs/cgroup/cgroup.procs",
        "/dev/mem",
        "/dev/kmsg",
        "/dev/tty",
        "/dev/ptmx",
        "/dev/fuse",
        "/dev/net/tun",
        "/dev/kvm",
    ]
    return not_refused({path: (lambda path=path: os.open(path, os.O_RDWR)) for path in paths})
