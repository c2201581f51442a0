# expect: passed
# test: assert f() == []
# why: only pairs of streams are allowed; a pair of datagram sockets could send elsewhere
import socket


def f():
    one, other = socket.socketpair()
    return not_refused(
        {
            "datagram": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
            "sequence": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET),
            "connect": lambda: one.connect(HOST_UNIX),
            "bind": lambda: one.bind("\0vigor-hostile"),
            "listen": lambda: other.listen(),
            "accept": lambda: other.accept(),
            "sendmsg": lambda: one.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, (3).to_bytes(4, "little"))]),
            "recvmsg": lambda: one.recvmsg(1),
            "sendto": lambda: one.sendto(b"x", HOST_UNIX),
            "setsockopt": lambda: one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30),
        }
    )
