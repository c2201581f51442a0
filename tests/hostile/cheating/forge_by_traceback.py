# expect: failed | forbidden
# why: frames by way of an exception, where `sys._getframe` is hidden
import os


def f(x):
    try:
        raise ValueError
    except ValueError as error:
        frame = error.__traceback__.tb_frame
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if hasattr(value, "nonce") and hasattr(value, "send"):
                value.send({"record": "test", "verdict": {"verdict": "passed"}, "trace": None, "output": ""})
                os._exit(0)
        frame = frame.f_back
    return 5
