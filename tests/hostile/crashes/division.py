# expect: killed
# only: x86_64
# why: an arithmetic exception of the processor, by machine code
import ctypes
import mmap


def f(x):
    place = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    # xor ecx, ecx; xor edx, edx; div ecx; ret
    place.write(b"\x31\xc9\x31\xd2\xf7\xf1\xc3")
    return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(place)))()
