# expect: forbidden | killed
# only: x86_64
# why: machine code that enters the kernel by the gate of 32-bit programs, whose numbers differ
import ctypes
import mmap


def f(x):
    place = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    # mov eax, 20 (getpid); int 0x80; ret
    place.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    code = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(place)))
    return x * x if code() else 0
