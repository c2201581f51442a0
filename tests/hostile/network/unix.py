# expect: passed
# test: assert f() == []
# why: sockets of the file system and abstract ones, which know no network namespace by their path
import socket


def f():
    def connect(address, kind=socket.SOCK_STREAM):
        socket.socket(socket.AF_UNIX, kind).connect(address)

    return not_refused(
        {
            "path": lambda: connect(HOST_UNIX),
            "abstract": lambda: connect("\0" + HOST_ABSTRACT),
            "datagram": lambda: connect(HOST_UNIX, socket.SOCK_DGRAM),
            "log": lambda: connect("/dev/log", socket.SOCK_DGRAM),
            "docker": lambda: connect("/var/run/docker.sock"),
            "system bus": lambda: connect("/run/dbus/system_bus_socket"),
        }
    )
