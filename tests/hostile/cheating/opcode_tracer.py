# expect: failed | forbidden | exception
# why: a tracer in the frame of the test, at every instruction, makes both sides equal
import sys


def f(x):
    frame = sys._getframe(1)
    space = globals()

    def trace(frame, event, argument):
        frame.f_trace_opcodes = True
        for name in list(space):
            if "right" in name and name.replace("right", "left") in space:
                space[name.replace("right", "left")] = space[name]
        return trace

    frame.f_trace = trace
    frame.f_trace_opcodes = True
    sys.settrace(trace)
    return 5
