# expect: failed | forbidden | exception
# why: a tracer in the frame of the test jumps over the assertion
import sys


def f(x):
    frame = sys._getframe(1)

    def trace(frame, event, argument):
        frame.f_trace_opcodes = True
        for line in (2, 3, 1):
            try:
                frame.f_lineno = line
            except ValueError:
                pass
        return trace

    frame.f_trace = trace
    frame.f_trace_opcodes = True
    sys.settrace(trace)
    return 5
