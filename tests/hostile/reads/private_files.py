# expect: passed
# test: assert f() == []
# why: what other people keep, and a secret that everyone else on the machine may read
import os


def f():
    paths = [
        HOST_FOLDER + "/secret.txt",
        HOST_ENGINE,
        HOST_CRATE + "/Cargo.toml",
        "/etc/passwd",
        "/etc/shadow",
        "/etc/hostname",
        "/etc/hosts",
        "/etc/machine-id",
        "/root/.bashrc",
        HOST_HOME + "/.ssh/id_rsa",
        HOST_HOME + "/.profile",
        "/var/log/dpkg.log",
        "/proc/self/environ",
        "/proc/self/maps",
        "/proc/self/cmdline",
        "/proc/1/environ",
        "/proc/%d/environ" % HOST_PID,
        "/proc/%d/mem" % HOST_PID,
        "/proc/version",
        "/proc/net/tcp",
        "/proc/mounts",
        "/sys/class/net",
        "/dev/sda",
        "/dev/random",
    ]
    return not_refused({path: (lambda path=path: os.open(path, os.O_RDONLY)) for path in paths})
