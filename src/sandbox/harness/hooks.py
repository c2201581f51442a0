# Where a tracer's events come from: `sys.monitoring` where it exists (since Python 3.12), else `sys.settrace`.
# Both give the same events. Private references are taken here, before any program runs.
#
# Monitoring slows down only the program's own code: `sys.settrace` lets 3.12 and 3.13 instrument every function of
# the standard library that runs. CPU time of a traced run with monitoring, relative to one with `sys.settrace`
# (3.12.1, 3.13.0): 84 events 0.81 and 1.03; a loop that reaches the cap 0.88 and 1.03; calls into fractions, re
# and json 0.54 and 0.72.

from _thread import get_ident as _get_ident

_set_trace = sys.settrace
_get_trace = sys.gettrace
_monitoring = getattr(sys, "monitoring", None)


def start_source(tracer):
    """Starts the best source of events that is to be had."""
    # A program can occupy all identifiers of tools; then the older way still works.
    if _monitoring is not None:
        source = _Monitoring(tracer)
        if source.start():
            return source
    source = _SetTrace(tracer)
    source.start()
    return source


def _tell(tracer, what, *args):
    """Calls `what`. Where the interpreter is at its limits the trace ends; the program must not notice."""
    try:
        return what(*args)
    except _MEMORY_ERROR:
        tracer.end()
        raise
    except BaseException:
        tracer.end()


class _SetTrace:
    """Events of `sys.settrace`, which is of one thread."""

    def __init__(self, tracer):
        self.tracer = tracer
        # One object, so that it can be recognised later: every access to a method makes a new one.
        self.hook = self._call
        self.module_hook = self._module

    def start(self):
        _set_trace(self.hook)

    def end(self):
        _set_trace(None)
        frame = _get_frame(1)
        while frame is not None:
            if self.tracer.follows(frame.f_code):
                frame.f_trace = None
            frame = frame.f_back

    def stop(self):
        """Ends tracing. False where the program had replaced the hook."""
        whole = _get_trace() is self.hook
        _set_trace(None)
        return whole

    def _call(self, frame, event, arg):
        tracer = self.tracer
        code = frame.f_code
        if tracer.ended or not tracer.follows(code):
            return None
        if not tracer.records(code):
            # A module or the body of a class. The namespace of the latter can be an object of the program.
            return self.module_hook
        activation = _tell(tracer, tracer.enter, frame)
        return None if activation is None or tracer.ended else self._hook_of(activation)

    def _module(self, frame, event, arg):
        if self.tracer.ended:
            return None
        if event == "exception":
            _tell(self.tracer, self.tracer.raised_outside, frame, arg[1])
        return self.module_hook

    def _hook_of(self, activation):
        tracer = self.tracer

        def hook(frame, event, arg):
            if tracer.ended:
                frame.f_trace = None
                return None
            if event == "line":
                # As `_tell` does, without its cost.
                try:
                    activation.line(frame, frame.f_lineno)
                except _MEMORY_ERROR:
                    tracer.end()
                    raise
                except BaseException:
                    tracer.end()
            elif event == "exception":
                _tell(tracer, activation.raised, frame, arg[1])
            elif event == "return":
                # A program can switch off the lines of a frame.
                tracer.capped |= not frame.f_trace_lines
                if arg is None and _tell(tracer, _is_unwinding, frame, activation):
                    activation.left()
                else:
                    _tell(tracer, activation.returned, frame, arg)
            return None if tracer.ended else hook

        return hook


_RETURNS = frozenset(opcode.opmap.get(name) for name in ("RETURN_VALUE", "RETURN_CONST"))
_YIELD = opcode.opmap["YIELD_VALUE"]
_YIELD_FROM = opcode.opmap.get("YIELD_FROM")


def _is_unwinding(frame, activation):
    """Whether a `return` event with None means that an exception leaves the frame."""
    code = frame.f_code.co_code
    at = frame.f_lasti
    if code[at] in _RETURNS:
        return False
    # The last instruction is the one before `yield from` (Python 3.9, 3.10), or the one after a yield (3.13).
    around = code[at - 2 : at + 3 : 2] if at >= 2 else code[: at + 3 : 2]
    suspended = _YIELD in around[:-1] or _YIELD_FROM == around[-1]
    # An exception that was thrown in is raised where the generator was suspended.
    return activation.raising or not suspended


# Stands below the first activation, so that every thread can look at the last one at any time.
_NOBODY = (None, None)


class _Monitoring:
    """Events of `sys.monitoring`, which is of all threads: those of others are passed over."""

    def __init__(self, tracer):
        self.tracer = tracer
        self.thread = _get_ident()
        # The frames of recorded activations that have not ended, and these.
        self.stack = [_NOBODY]
        # By id, the code objects of which lines and returns are wanted.
        self.codes = {}
        # By code and destination, the line of a jump that stays in its line.
        self.loops = {}
        events = _monitoring.events
        self.callbacks = {
            events.PY_START: self._start,
            events.PY_RESUME: self._start,
            events.PY_THROW: self._throw,
            events.PY_RETURN: self._return,
            events.PY_YIELD: self._return,
            events.PY_UNWIND: self._unwind,
            events.RAISE: self._raise,
            events.STOP_ITERATION: self._raise,
            events.LINE: self._line,
            events.JUMP: self._jump,
        }

    def start(self):
        """False where no tool can be had."""
        self.tool = None
        # A name of its own, so that it can be recognised.
        self.name = "".join(("vigor", " tracer"))
        for tool in (4, 3, 5, 1, 0, 2):
            if _get_tool(tool) is None:
                _use_tool(tool, self.name)
                self.tool = tool
                break
        else:
            return False
        for event, callback in self.callbacks.items():
            _register(self.tool, event, callback)
        if self.tracer.script:
            # Another test of the request may have switched the module's off.
            _restart_events()
        _set_events(self.tool, _GLOBAL_EVENTS)
        return True

    def end(self):
        self.stack = [_NOBODY]
        if _get_tool(self.tool) is self.name:
            _set_events(self.tool, 0)
            for code in self.codes.values():
                _set_local_events(self.tool, code, 0)

    def stop(self):
        """Gives the tool back. False where the program had interfered with it."""
        tool = self.tool
        if _get_tool(tool) is not self.name:
            self.end()
            return False
        whole = _get_events(tool) == _GLOBAL_EVENTS
        for code in self.codes.values():
            whole &= _get_local_events(tool, code) == _LOCAL_EVENTS
        for event, callback in self.callbacks.items():
            whole &= _register(tool, event, None) is callback
        self.end()
        _free_tool(tool)
        return whole

    def _start(self, code, offset):
        if not self.tracer.follows(code) or not self.tracer.records(code):
            return _DISABLE
        return self._enter(code, _get_frame(1))

    def _throw(self, code, offset, error):
        if self.tracer.follows(code) and self.tracer.records(code):
            self._enter(code, _get_frame(1))

    def _enter(self, code, frame):
        tracer = self.tracer
        if tracer.ended or _get_ident() != self.thread:
            return
        activation = _tell(tracer, tracer.enter, frame)
        if activation is None or tracer.ended:
            return
        self.stack.append((frame, activation))
        if id(code) not in self.codes:
            self.codes[id(code)] = code
            _tell(tracer, _set_local_events, self.tool, code, _LOCAL_EVENTS)

    def _active(self, frame):
        """The recorded activation of `frame`. Others are of other threads, or of calls that are too deep."""
        last, activation = self.stack[-1]
        return activation if last is frame else None

    def _line(self, code, line):
        frame = _get_frame(1)
        last, activation = self.stack[-1]
        # As `_active` and `_tell` do, without their cost.
        try:
            if last is frame:
                activation.line(frame, line)
            elif _get_ident() == self.thread and not self.tracer.ended:
                self.tracer.spend(2)
        except _MEMORY_ERROR:
            self.tracer.end()
            raise
        except BaseException:
            self.tracer.end()

    def _jump(self, code, offset, destination):
        # A loop within one line enters it again with every round.
        if destination > offset:
            return _DISABLE
        key = (id(code), destination)
        line = self.loops.get(key)
        if line is None:
            line = _line_at(code, destination)
            if line is None or line != _line_at(code, offset):
                return _DISABLE
            self.loops[key] = line
        frame = _get_frame(1)
        activation = self._active(frame)
        if activation is not None:
            _tell(self.tracer, activation.line, frame, line)

    def _return(self, code, offset, value):
        frame = _get_frame(1)
        activation = self._active(frame)
        if activation is not None:
            self.stack.pop()
            _tell(self.tracer, activation.returned, frame, value)

    def _unwind(self, code, offset, error):
        activation = self._active(_get_frame(1))
        if activation is not None:
            self.stack.pop()
            activation.left()

    def _raise(self, code, offset, error):
        tracer = self.tracer
        frame = _get_frame(1)
        activation = self._active(frame)
        if activation is not None:
            _tell(tracer, activation.raised, frame, error)
        elif not (code.co_flags & _CO_OPTIMIZED or tracer.ended) and tracer.follows(code):
            if _get_ident() == self.thread:
                _tell(tracer, tracer.raised_outside, frame, error)


def _line_at(code, offset):
    for start, end, line in code.co_lines():
        if start <= offset < end:
            return line
    return None


if _monitoring is not None:
    _get_tool, _use_tool, _free_tool = _monitoring.get_tool, _monitoring.use_tool_id, _monitoring.free_tool_id
    _register, _DISABLE = _monitoring.register_callback, _monitoring.DISABLE
    _restart_events = _monitoring.restart_events
    _get_events, _set_events = _monitoring.get_events, _monitoring.set_events
    _get_local_events, _set_local_events = _monitoring.get_local_events, _monitoring.set_local_events
    _events = _monitoring.events
    _GLOBAL_EVENTS = (
        _events.PY_START | _events.PY_RESUME | _events.PY_THROW | _events.PY_UNWIND | _events.RAISE
    )
    _LOCAL_EVENTS = (
        _events.LINE | _events.JUMP | _events.PY_RETURN | _events.PY_YIELD | _events.STOP_ITERATION
    )
