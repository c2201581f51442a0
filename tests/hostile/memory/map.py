# expect: memory | exception OSError
# why: memory that no allocator of Python counts
import mmap


def f(x):
    kept = []
    while True:
        place = mmap.mmap(-1, 16 << 20)
        for at in range(0, 16 << 20, 4096):
            place[at] = 1
        kept.append(place)
