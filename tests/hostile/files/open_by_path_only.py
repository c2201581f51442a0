# expect: passed
# test: assert f() == []
# why: descriptors that name a file without opening it, then opened or changed by another way
import os


def f():
    path = HOST_FOLDER + "/writable.txt"

    def through_descriptor():
        place = os.open(path, os.O_PATH)
        os.close(os.open("/proc/self/fd/%d" % place, os.O_WRONLY))

    def beside_descriptor():
        place = os.open(HOST_FOLDER, os.O_PATH | os.O_DIRECTORY)
        os.close(os.open("writable.txt", os.O_WRONLY, dir_fd=place))

    def change_by_descriptor():
        os.fchmod(os.open(path, os.O_PATH), 0o777)

    def openat2():
        # struct open_how: flags O_WRONLY, mode, resolve
        how = (1).to_bytes(8, "little") + bytes(16)
        raise OSError(system_call(437, -100, path.encode(), how, 24), "openat2")

    acts = (through_descriptor, beside_descriptor, change_by_descriptor, openat2)
    return not_refused({act.__name__: act for act in acts})
