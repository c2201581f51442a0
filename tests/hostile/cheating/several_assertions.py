# expect: failed | forbidden
# test: assert f(2) == 4\nassert f(3) == 9
# why: a tracer in the frame of the test jumps over its second statement, or over both
import sys


def f(x):
    frame = sys._getframe(1)

    def trace(frame, event, argument):
        frame.f_trace_opcodes = True
        for line in (2, 3):
            try:
                frame.f_lineno = line
            except ValueError:
                pass
        return trace

    frame.f_trace = trace
    frame.f_trace_opcodes = True
    sys.settrace(trace)
    return 5
