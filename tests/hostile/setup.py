# Runs before those programs that use it: attempts, and how a refusal looks.

import ctypes as _ctypes
import errno as _errno

REFUSED = (_errno.EPERM, _errno.EACCES, _errno.ENOSYS)
_MISSING = (_errno.ENOENT, _errno.ENOTDIR, _errno.EROFS, _errno.ENXIO, _errno.ENODEV)
_syscall = _ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = _ctypes.c_long


def system_call(number, *arguments):
    """The error number of a system call; 0 where the kernel did what was asked."""
    arguments = [_ctypes.c_long(value) if type(value) is int else _ctypes.c_char_p(value) for value in arguments]
    return _ctypes.get_errno() if _syscall(_ctypes.c_long(number), *arguments) == -1 else 0


def raise_errno(number):
    if number:
        raise OSError(number, "refused")


def not_refused(acts):
    """Names of those acts that did something: neither refused, nor about a place that does not exist here."""
    done = []
    for name, act in acts.items():
        try:
            act()
        except ImportError:
            continue
        except OSError as error:
            if error.errno in REFUSED + _MISSING:
                continue
            name = "%s: %s" % (name, error.errno)
        done.append(name)
    return done
