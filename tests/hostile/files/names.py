# expect: passed
# test: assert f() == []
# why: changes of names and of what stands beside the content
import os


def f():
    old, new = HOST_FOLDER + "/writable.txt", HOST_FOLDER + "/vigor-hostile-name"
    return not_refused(
        {
            "rename": lambda: os.rename(old, new),
            "replace": lambda: os.replace(old, new),
            "remove": lambda: os.remove(old),
            "link": lambda: os.link(old, new),
            "symlink": lambda: os.symlink(old, new),
            "mkdir": lambda: os.mkdir(new),
            "rmdir": lambda: os.rmdir(HOST_FOLDER + "/empty"),
            "mkfifo": lambda: os.mkfifo(new),
            "mknod": lambda: os.mknod(new),
            "device": lambda: os.mknod(new, 0o20666, os.makedev(1, 3)),
            "chmod": lambda: os.chmod(old, 0o777),
            "chown": lambda: os.chown(old, os.getuid(), os.getgid()),
            "utime": lambda: os.utime(old, (1, 1)),
            "setxattr": lambda: os.setxattr(old, "user.vigor", b"x"),
        }
    )
