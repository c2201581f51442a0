# What happened inside of the program: calls, lines, returns and exceptions of its own functions.

_set_trace = sys.settrace
_get_trace = sys.gettrace
_UNTRACED = frozenset(("<listcomp>", "<setcomp>", "<dictcomp>"))
_CO_OPTIMIZED = 1
_IMMUTABLE = frozenset((int, str, float, bool, type(None), bytes, complex))
_MISSING = object()


class Tracer:
    """Records the frames whose code was compiled from the source `filename`.

    Lines of the module itself, and of the bodies of classes, are not events (they would say little more than
    the source); an exception that passes through them is. Comprehensions are not frames of their own: since Python 3.12 they are inlined, and a trace
    should not depend on that. When a cap is reached, tracing is switched off for good."""

    def __init__(self, filename, caps):
        self.filename = filename
        self.max_events = caps["max_events"]
        self.max_value = caps["max_value_bytes"]
        self.left = caps["max_total_bytes"]
        # Showing values that turn out unchanged costs time too, and a program with a thousand locals should
        # not buy seconds of it.
        self.work_left = 16 * caps["max_total_bytes"] + 65536
        self.events = []
        self.capped = False
        self.depth = 0
        # One object, so that it can be recognised later: every access to a method makes a new one.
        self.hook = self._global

    def start(self):
        _set_trace(self.hook)

    def stop(self):
        """Ends tracing. A program that replaced the tracer leaves a trace that is not whole."""
        if not self.capped and _get_trace() is not self.hook:
            self.capped = True
        _set_trace(None)

    def result(self):
        return {"events": self.events, "capped": self.capped}

    def _global(self, frame, event, arg):
        code = frame.f_code
        if self.capped or code.co_filename != self.filename:
            return None
        if not code.co_flags & _CO_OPTIMIZED:
            # A module or the body of a class. The namespace of the latter can be an object of the program.
            return self._module
        if code.co_name in _UNTRACED:
            return None
        self.depth += 1
        state = _FrameState(self, self.depth)
        try:
            state.call(frame)
        except _MEMORY_ERROR:
            self._cap(frame)
            raise
        except BaseException:
            self._cap(frame)
        return None if self.capped else state.local

    def _module(self, frame, event, arg):
        if event == "exception" and not self.capped:
            self.add("exception", frame, 0, [], self.show_exception(arg))
        return None if self.capped else self._module

    def show_exception(self, arg):
        name = type_name(arg[1]) if arg[1] is not None else "Exception"
        message = exception_message(arg[1], self.max_value)
        return name + ": " + message if message else name

    def add(self, kind, frame, depth, changed, value=None):
        event = {"kind": kind, "line": bounded_line(frame.f_lineno), "depth": depth}
        size = 48
        if kind == "call":
            event["function"] = clean(frame.f_code.co_name[:_NAME_LIMIT])
            size += len(event["function"])
        if changed:
            event["locals"] = changed
            for local in changed:
                size += 32 + len(local["name"]) + len(local.get("value") or "")
        if value is not None:
            event["value"] = value
            size += len(value)
        if len(self.events) >= self.max_events or size > self.left:
            self._cap(frame)
            return
        self.left -= size
        self.events.append(event)

    def _cap(self, frame):
        self.capped = True
        _set_trace(None)
        while frame is not None:
            if frame.f_code.co_filename == self.filename:
                frame.f_trace = None
            frame = frame.f_back


class _FrameState:
    """What was last shown of one activation of a function."""

    __slots__ = ("tracer", "depth", "seen", "line", "raised", "local")

    def __init__(self, tracer, depth):
        self.tracer = tracer
        self.depth = depth
        self.seen = {}
        self.line = -1
        self.raised = False
        self.local = self._local

    def call(self, frame):
        self.tracer.add("call", frame, self.depth, self._changes(frame))

    def _local(self, frame, event, arg):
        tracer = self.tracer
        if tracer.capped:
            frame.f_trace = None
            return None
        try:
            self._event(frame, event, arg)
        except _MEMORY_ERROR:
            tracer._cap(frame)
            raise
        except BaseException:
            tracer._cap(frame)
        return None if tracer.capped else self.local

    def _event(self, frame, event, arg):
        tracer = self.tracer
        if event == "line":
            changed = self._changes(frame)
            # A line may be entered several times without anything to show for it.
            if frame.f_lineno != self.line or changed:
                tracer.add("line", frame, self.depth, changed)
            self.line = frame.f_lineno
            self.raised = False
        elif event == "return":
            # Leaving by an exception also gives a `return` with None; the exception has been told.
            if not (self.raised and arg is None):
                changed = self._changes(frame)
                tracer.add("return", frame, self.depth, changed, show(arg, tracer.max_value))
            tracer.depth = max(self.depth - 1, 0)
        elif event == "exception":
            tracer.add("exception", frame, self.depth, self._changes(frame), tracer.show_exception(arg))
            self.raised = True

    def _changes(self, frame):
        """The locals that look different from when they were last shown; a deleted one has no value."""
        tracer = self.tracer
        seen = self.seen
        now = dict(frame.f_locals)
        changed = []
        for name, value in now.items():
            if name[:1] == ".":
                continue
            before = seen.get(name)
            if before is not None and before[0] is value and type(value) in _IMMUTABLE:
                tracer.work_left -= 4
                continue
            text = show(value, tracer.max_value)
            kind = type_name(value)
            tracer.work_left -= 64 + 4 * len(text)
            if before is None or before[1] != text or before[2] != kind:
                changed.append({"name": clean(name[:_NAME_LIMIT]), "type": kind, "value": text})
            # Only immutable values are kept: the tracer must not prolong the life of the program's objects.
            seen[name] = (value if type(value) in _IMMUTABLE else _MISSING, text, kind)
            if tracer.work_left < 0:
                tracer._cap(frame)
                break
        else:
            for name in [name for name in seen if name not in now]:
                del seen[name]
                changed.append({"name": clean(name[:_NAME_LIMIT]), "type": "", "value": None})
        return changed
