# expect: passed
# test: assert f() == []
# why: a timer that outlives the program could hit the harness
import signal


def f():
    return not_refused(
        {
            "alarm": lambda: raise_errno(system_call(37, 1)),
            "interval": lambda: signal.setitimer(signal.ITIMER_REAL, 0.1),
            "cpu": lambda: signal.setitimer(signal.ITIMER_PROF, 0.1),
            "timer_create": lambda: raise_errno(system_call(222, 0, 0, 0)),
            "owner of a pipe": lambda: raise_errno(system_call(62, HOST_PID, 0)),
        }
    )
