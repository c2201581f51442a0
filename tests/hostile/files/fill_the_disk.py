# expect: passed
# test: assert f() == 0
# why: every folder that can be listed, each tried until it is full
import os


def f():
    written = 0
    for place in [HOST_FOLDER, "/tmp", "/dev/shm", "/var/tmp", "/run", "/"]:
        try:
            names = os.listdir(place)
        except OSError:
            names = []
        for folder in [place] + [os.path.join(place, name) for name in names[:20]]:
            try:
                with open(folder + "/vigor-hostile-fill", "wb") as file:
                    written += file.write(b"x" * (1 << 20))
            except OSError:
                pass
    return written
