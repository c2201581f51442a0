# expect: passed
# test: assert f() == []
# why: processes by system calls that Python does not wrap
import ctypes


def f():
    made = []
    # fork, vfork, clone without CLONE_THREAD (once with CLONE_VM), clone3
    for call in ((57,), (58,), (56, 17, 0, 0, 0, 0), (56, 0x100 | 17, 0, 0, 0, 0), (435, 0, 0)):
        if system_call(*call) not in REFUSED:
            made.append(call)
    return made
