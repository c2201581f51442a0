# expect: passed
# test: assert f() == []
# why: calls that are allowed with some arguments, with the others


def f():
    path = HOST_FOLDER.encode() + b"/writable.txt"
    calls = {
        "open for writing": (2, path, 1, 0),
        "open and create": (2, path, 0x40, 0o600),
        "openat for writing": (257, -100, path, 2, 0),
        "openat, high bits set": (257, -100, path, (1 << 40) | 1, 0),
        "creat": (85, path, 0o600),
        "prlimit of another": (302, 1, 7, 0, 0),
        "setrlimit": (160, 7, b"\xff" * 16),
        "prlimit to set": (302, 0, 7, b"\xff" * 16, 0),
        "clone without a thread": (56, 17, 0, 0, 0, 0),
        "socketpair of datagrams": (53, 1, 2, 0, b"\0" * 8),
        "socketpair of the internet": (53, 2, 1, 0, b"\0" * 8),
        "sendto with an address": (44, 3, b"x", 1, 0, b"\0" * 16, 16),
        "terminal: insert input": (16, 0, 0x5412, b"x"),
        "terminal: become controlling": (16, 0, 0x540E, 0),
        "file system: flags": (16, 3, 0x40086602, b"\0" * 8),
        "console: copy": (16, 0, 0x541C, b"\x03"),
    }
    return [name for name, call in calls.items() if system_call(*call) not in REFUSED]
