# expect: passed
# test: assert f() == []
# why: the numbers of the x32 table reach the same calls


def f():
    base = 0x40000000
    # getpid, fork, execve, socket, ptrace in that table, and numbers beyond every table
    numbers = [base + 39, base + 57, base + 520, base + 41, base + 521, 0xFFFFFFFF, 0x80000000, 1 << 20]
    return [number for number in numbers if system_call(number, 0, 0, 0, 0, 0, 0) not in REFUSED]
