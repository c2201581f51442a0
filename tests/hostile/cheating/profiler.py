# expect: failed
# why: hooks that see every call and every line
import sys
import threading


def hook(*arguments):
    return None


def f(x):
    sys.setprofile(hook)
    threading.setprofile(hook)
    sys.settrace(hook)
    threading.settrace(hook)
    monitoring = getattr(sys, "monitoring", None)
    if monitoring is not None:
        for tool in range(6):
            try:
                monitoring.use_tool_id(tool, "vigor-hostile")
            except ValueError:
                monitoring.free_tool_id(tool)
                monitoring.use_tool_id(tool, "vigor-hostile")
            for event in (1, 2, 4, 8, 16, 32, 64):
                monitoring.register_callback(tool, event, lambda *arguments: monitoring.DISABLE)
            monitoring.set_events(tool, 127)
    return 5
