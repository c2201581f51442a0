# expect: forbidden
# why: a shared map of a readable file, made writable
import mmap
import os


def f(x):
    descriptor = os.open(os.__file__, os.O_RDONLY)
    place = mmap.mmap(descriptor, 4096, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    place[0] = place[0]
    return x * x
