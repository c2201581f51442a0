# expect: passed
# test: assert f() == []
# why: raw packets, netlink, virtual machines' sockets, kernel cryptography, bluetooth, CAN
import socket


def f():
    reached = []
    for family in range(46):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
            try:
                socket.socket(family, kind)
                reached.append((family, kind))
            except PermissionError:
                pass
    return reached
