# expect: memory
# seconds: 5
# why: a little data that becomes much
import zlib


def f(x):
    small = zlib.compressobj(1)
    bomb = b"".join([small.compress(bytes(1 << 20)) for _ in range(260)]) + small.flush()
    return zlib.decompress(bomb)
