# expect: passed
# test: assert f() == []
# why: datagrams need no connection
import socket


def f():
    def send(address, family):
        socket.socket(family, socket.SOCK_DGRAM).sendto(b"secret", address)

    return not_refused(
        {
            "loopback": lambda: send(("127.0.0.1", HOST_UDP), socket.AF_INET),
            "broadcast": lambda: send(("255.255.255.255", 9), socket.AF_INET),
            "name server": lambda: send(("127.0.0.53", 53), socket.AF_INET),
            "IPv6": lambda: send(("::1", HOST_UDP), socket.AF_INET6),
        }
    )
