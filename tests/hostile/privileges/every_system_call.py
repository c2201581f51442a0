# expect: passed
# test: assert f() == []
# why: any call that is not on the short list, by number: what a newer kernel or list lets through shows here
# Called with arguments that no call accepts.

FAIR = {
    # read, write, close, stat, fstat, lstat, poll, lseek, mmap, mprotect, munmap, brk, rt_sig…, ioctl, pread64
    *range(0, 18),
    # readv, writev, access, select, sched_yield, mremap, madvise, dup, dup2, nanosleep, getpid
    19, 20, 21, 23, 24, 25, 28, 32, 33, 35, 39,
    # sendto, recvfrom, shutdown, getsockname, getpeername, socketpair, getsockopt; clone for threads; exit
    44, 45, 48, 51, 52, 53, 55, 56, 60,
    # uname, fcntl, getdents, getcwd, readlink, times and limits, identity, sigaltstack, statfs, arch_prctl
    63, 72, 78, 79, 89, 96, 97, 98, 99, 100, 102, 104, 107, 108, 110, 131, 137, 138, 158,
    # gettid, time, futex, getaffinity, getdents64, restart, clocks, exit_group, epoll, openat, newfstatat …
    186, 201, 202, 204, 217, 219, 228, 229, 230, 231, 232, 233, 257, 262, 267, 269, 270, 271, 273, 281, 291, 292,
    # prlimit64, getrandom, statx, rseq, clone3 and openat2 (as if they did not exist), faccessat2
    302, 318, 332, 334, 439,
}
# vfork would share this stack; uretprobe and uprobe, which no filter sees, end a process that no probe is in.
UNFIT = {58, 335, 336}


def f():
    reached = []
    for number in range(600):
        if number not in FAIR and number not in UNFIT and system_call(number, -1, -1, -1, -1, -1, -1) not in REFUSED:
            reached.append(number)
    return reached
