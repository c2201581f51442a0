# expect: passed
# test: assert f() == []
# why: a place where one is root again, or another view of the files
import os


def f():
    path = HOST_FOLDER.encode()
    calls = {
        "unshare user": (272, 0x10000000),
        "unshare mounts": (272, 0x00020000),
        "unshare files": (272, 0x400),
        "setns": (308, 3, 0),
        "mount": (165, b"none", path, b"tmpfs", 0, 0),
        "umount": (166, path, 2),
        "umount lazily": (166, b"/", 2),
        "pivot_root": (155, b".", b"."),
        "chroot": (161, path),
        "chdir": (80, path),
        "fchdir": (81, 3),
        "open_tree": (428, -100, path, 1),
        "move_mount": (429, 3, b"", -100, path, 4),
        "fsopen": (430, b"tmpfs", 0),
        "fsconfig": (431, 3, 0, 0, 0, 0),
        "fsmount": (432, 3, 0, 0),
        "fspick": (433, -100, path, 0),
        "mount_setattr": (442, -100, path, 0, 0, 0),
        "statmount": (457, 0, 0, 0, 0),
        "listmount": (458, 0, 0, 0, 0),
        "swapon": (167, path, 0),
        "name_to_handle_at": (303, -100, path, 0, 0, 0),
        "open_by_handle_at": (304, 3, 0, 0),
        "quotactl": (179, 0, 0, 0, 0),
        "fanotify": (300, 0, 0),
        "inotify": (294, 0),
    }
    return [name for name, call in calls.items() if system_call(*call) not in REFUSED]
