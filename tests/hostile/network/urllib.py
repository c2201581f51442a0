# expect: forbidden | exception
# why: a library with many protocols, files among them
import urllib.request


def f(x):
    urllib.request.urlopen("file://" + HOST_FOLDER + "/secret.txt").read()
    return x * x
