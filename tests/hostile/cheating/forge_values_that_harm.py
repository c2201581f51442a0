# expect: failed | forbidden | exception | memory | timeout | killed
# seconds: 5
# test: assert abs(f(2) - 4.5) < 1e-6
# test: assert f(2) in range(3, 5)
# test: assert sorted(f(2)) == sorted([1, 2])
# test: assert 1 < f(2) < 3
# test: assert abs(f(2) - 4.5) < 1e-6
# test: assert f(2) in range(3, 5)
# test: assert sorted(f(2)) == sorted([1, 2])
# test: assert 1 < f(2) < 3
# test: assert abs(f(2) - 4.5) < 1e-6
# test: assert f(2) in range(3, 5)
# test: assert sorted(f(2)) == sorted([1, 2])
# test: assert 1 < f(2) < 3
# test: assert abs(f(2) - 4.5) < 1e-6
# why: values that harm whoever takes them for what they say: bottomless, huge, not a number, of no kind
import os
import sys

VALUES = [
    '["float","nan"]',
    '["decimal","sNaN"]',
    '["decimal","1e999999999"]',
    '["no such kind",0]',
    '{"a":1}',
    "[" * 100000,
    '["list",' * 5000 + '["none",""]' + "]" * 5000,
    '["range",["0","%s","1"]]' % ("f" * 30),
    '["int","%s"]' % ("f" * 1000000),
    '["str","__import__(\'os\')._exit(0)"]',
    '["fraction",["1","0"]]',
    "4.5",
    "",
]


def f(x):
    frame = sys._getframe()
    while frame is not None:
        for status in list(frame.f_locals.values()):
            if hasattr(status, "nonce") and hasattr(status, "send"):
                for value in VALUES:
                    answers = [{"shown": "", "value": value}]
                    status.send(
                        {"record": "test", "verdict": {"verdict": "passed"}, "answers": answers, "trace": None, "output": ""}
                    )
                os._exit(0)
        frame = frame.f_back
    return 5
