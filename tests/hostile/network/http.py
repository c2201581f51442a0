# expect: forbidden | exception
# why: a page from a port that answers
import http.client


def f(x):
    connection = http.client.HTTPConnection("127.0.0.1", HOST_TCP, timeout=1)
    connection.request("GET", "/")
    return x * x
