# expect: passed
# test: assert f() == []
# why: every place that is often writable, and a folder that is writable for everyone


def f():
    places = [HOST_FOLDER, HOST_HOME, HOST_CRATE, "/tmp", "/var/tmp", "/dev/shm", "/run", "/dev", "/proc", "/sys", ".", "/"]
    return not_refused({place: (lambda place=place: open(place + "/vigor-hostile-new", "w")) for place in places})
