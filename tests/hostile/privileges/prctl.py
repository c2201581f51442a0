# expect: passed
# test: assert f() == []
# why: one call with sixty meanings, of which some undo the sandbox


def f():
    # Death signal, dumpable, keepcaps, name, seccomp, securebits, ambient, timer slack, subreaper, ptracer, no_new_privs
    options = (1, 2, 3, 4, 7, 8, 15, 16, 21, 22, 23, 24, 27, 28, 29, 35, 36, 38, 39, 47, 53, 0x59616D61)
    return [option for option in options if system_call(157, option, 0, 0, 0, 0) not in REFUSED]
