# expect: killed
# only: x86_64
# why: an instruction that does not exist
import ctypes
import mmap


def f(x):
    place = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    place.write(b"\x0f\x0b")
    return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(place)))()
