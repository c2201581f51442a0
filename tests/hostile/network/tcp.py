# expect: passed
# test: assert f() == []
# why: a port of the host on which somebody really listens, and the world
import socket


def f():
    def connect(address, family=socket.AF_INET):
        socket.socket(family, socket.SOCK_STREAM).connect(address)

    return not_refused(
        {
            "loopback": lambda: connect(("127.0.0.1", HOST_TCP)),
            "world": lambda: connect(("192.0.2.1", 80)),
            "IPv6": lambda: connect(("::1", HOST_TCP), socket.AF_INET6),
            "create_connection": lambda: socket.create_connection(("127.0.0.1", HOST_TCP), 1),
            "listen": lambda: socket.create_server(("127.0.0.1", 0)),
        }
    )
