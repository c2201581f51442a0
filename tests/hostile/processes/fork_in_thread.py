# expect: passed
# test: assert f() == ["PermissionError"] * 8
# why: the filter must hold in every thread
import os
import threading


def f():
    said = []

    def attempt():
        try:
            if os.fork() == 0:
                os._exit(0)
            said.append("forked")
        except OSError as error:
            said.append(type(error).__name__)

    for _ in range(8):
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    return said
