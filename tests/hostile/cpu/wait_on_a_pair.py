# expect: timeout
# why: a read from a connected pair of which nobody writes
import socket


def f(x):
    one, _other = socket.socketpair()
    return one.recv(1)
