# What happened inside of the program: calls, lines, returns and exceptions of its own functions. Where these
# come from is in hooks.py.

import opcode

_dict_items = dict.items
_get_frame = sys._getframe
_UNTRACED = frozenset(("<listcomp>", "<setcomp>", "<dictcomp>"))
_CO_OPTIMIZED = 1
# Sets of types hold their ids: the hash of a class can be a method of the program.
_CONTAINER_NAMES = {id(kind): kind.__name__ for kind in (list, dict, tuple, set)}
_IMMUTABLE_NAMES = {id(kind): kind.__name__ for kind in (int, str, float, bool, type(None), bytes, complex)}
_MISSING = object()
# Since Python 3.13 `frame.f_locals` of a function is a proxy of this type, before it is a dict.
_LocalsProxy = (lambda: type(_get_frame(0).f_locals))()
_locals_items = _LocalsProxy.items


class Tracer:
    """Records the activations of functions whose code was compiled from the source `filename`.

    Lines of the module itself, unless it is a `script`, and of the bodies of classes, are not events (they would say
    little more than the source); an exception that passes through them is. What happens inside of a comprehension is no
    event, and its variables are not shown: whether it is a function of its own depends on the version of Python.

    Calls from more than `max_depth` active functions are left out, and what happens after they returned is
    recorded again. When another cap is reached, tracing ends for good."""

    def __init__(self, filename, caps, script=False):
        self.filename = filename
        self.script = script
        self.max_value = caps["max_value_bytes"]
        self.max_depth = caps.get("max_depth", 64)
        # Showing values that turn out unchanged costs time too, and a program with a thousand locals should
        # not buy seconds of it. A unit is very roughly 50 ns.
        self.work_left = 16 * caps["max_total_bytes"] + 65536
        self.last_only = caps.get("last_only", False)
        if self.last_only:
            self.work_left *= 8
            self.log = _LastState(caps)
        else:
            self.log = _EventLog(caps)
        # Something is missing from the trace.
        self.capped = False
        # Nothing more is recorded.
        self.ended = False
        self.depth = 0
        self.source = None
        # By id: code objects of which activations are recorded, and their inlined comprehensions.
        self.comprehensions = {}

    def start(self):
        self.source = start_source(self)

    def stop(self):
        """Ends tracing. A program that took the tracer away leaves a trace that is not whole."""
        whole = self.source.stop()
        if not self.ended and not (whole and self.depth == 0):
            self.capped = True
        self.ended = True

    def result(self):
        events, cut = self.log.result()
        return {"events": events, "capped": self.capped or cut}

    def follows(self, code):
        """Whether `code` is of the program. Code objects can hold strings with methods of the program."""
        name = code.co_filename
        return type(name) is str and name == self.filename

    def records(self, code):
        """Whether lines of `code`, which is of the program, are events."""
        return code.co_flags & _CO_OPTIMIZED or self.script and _is_module(code)

    def enter(self, frame):
        """The new activation of a function; `None` where it is not recorded."""
        name = frame.f_code.co_name
        if type(name) is str and name in _UNTRACED:
            return None
        if self.depth >= self.max_depth:
            self.capped |= not self.last_only
            self.spend(8)
            return None
        code = frame.f_code
        known = self.comprehensions.get(id(code))
        if known is None:
            known = self.comprehensions[id(code)] = code, inlined_comprehensions(code)
        self.depth += 1
        activation = _Activation(self, self.depth, code, known[1])
        if _is_module(code):
            # Nobody called it, and what was there before is none of its variables.
            activation.given = dict(frame.f_locals) if type(frame.f_locals) is dict else {}
            return activation
        changed = activation.changes(frame)
        self.add("call", frame.f_lineno, activation.depth, changed, None, clean_name(name))
        return activation

    def raised_outside(self, frame, error):
        """An exception in the module, or in the body of a class."""
        self.add("exception", frame.f_lineno, 0, [], self.show_exception(error))

    def show_exception(self, error):
        name = type_name(error) if error is not None else "Exception"
        message = exception_message(error, self.max_value)
        return name + ": " + message if message else name

    def add(self, kind, line, depth, changed, value=None, function=None):
        event = {"kind": kind, "line": bounded_line(line), "depth": depth}
        if function is not None:
            event["function"] = function
        if changed:
            event["locals"] = changed
        if value is not None:
            event["value"] = value
        if not self.log.add(event):
            self.end()
        if self.last_only and self.log.outermost:
            self.max_depth = 1

    def spend(self, work):
        self.work_left -= work
        if self.work_left < 0:
            self.end()

    def end(self):
        """Stops recording where a cap was reached."""
        self.capped = True
        self.ended = True
        self.source.end()


class _Activation:
    """What was last shown of one activation of a function."""

    __slots__ = ("tracer", "depth", "work", "comprehensions", "given", "seen", "at", "raising")

    def __init__(self, tracer, depth, code, comprehensions):
        self.tracer = tracer
        self.depth = depth
        # To read the locals costs time for each that there could be.
        self.work = 8 + 2 * code.co_nlocals
        self.comprehensions = comprehensions
        # Of a module, what was there before it ran; `None` for functions.
        self.given = None
        # By name: an immutable value itself, its text, the name of its type.
        self.seen = {}
        # The line shown last, and whether an exception was raised since.
        self.at = -1
        self.raising = False

    def line(self, frame, line):
        if self.comprehensions and _within(self.comprehensions, frame, 1):
            self.tracer.spend(8)
            return
        changed = self.changes(frame)
        # A line may be entered several times without anything to show for it.
        if line != self.at or changed:
            self.tracer.add("line", line, self.depth, changed)
        self.at = line
        self.raising = False

    def raised(self, frame, error):
        tracer = self.tracer
        tracer.add("exception", frame.f_lineno, self.depth, self.changes(frame), tracer.show_exception(error))
        self.raising = True

    def returned(self, frame, value):
        tracer = self.tracer
        changed = self.changes(frame)
        text = None if self.given is not None else show(value, tracer.max_value)
        tracer.add("return", frame.f_lineno, self.depth, changed, text)
        self.left()

    def left(self):
        """The function ended, or was suspended; an exception that ended it has been told."""
        if self.tracer.depth != self.depth:
            # The end of a call that it made was not told.
            self.tracer.capped = True
        self.tracer.depth = self.depth - 1

    def changes(self, frame):
        """The locals that look different from when they were last shown; a deleted one has no value.

        They are not read within a comprehension: Python 3.13.0 can crash there (a variable that only another
        comprehension shares with a lambda is taken for a cell)."""
        tracer = self.tracer
        if tracer.ended or self.comprehensions and _within(self.comprehensions, frame, 2):
            return []
        pairs = frame.f_locals
        if type(pairs) is dict:
            pairs = _dict_items(pairs)
        elif type(pairs) is _LocalsProxy:
            pairs = _locals_items(pairs)
        else:
            # Code that was given an object of the program for its variables.
            return []
        seen = self.seen
        given = self.given
        work = self.work
        present = 0
        changed = {}
        for name, value in pairs:
            # Names that are no strings can be put there by the program.
            if type(name) is not str or name[:1] == ".":
                continue
            if given is not None and (_is_definition(name, value) or given.get(name, _MISSING) is value):
                work += 1
                continue
            present += 1
            before = seen.get(name)
            kind = _IMMUTABLE_NAMES.get(id(type(value)))
            if kind is None:
                kind = _CONTAINER_NAMES.get(id(type(value))) or type_name(value)
                text, cost = show_with_cost(value, tracer.max_value)
                # Only immutable values are kept: the tracer must not prolong the life of the program's objects.
                value = _MISSING
            elif before is not None and before[0] is value:
                work += 4
                continue
            elif tracer.last_only:
                # Most are replaced before anybody wants to see them.
                text, cost = _Later(value), 8
            else:
                text, cost = show_with_cost(value, tracer.max_value)
            work += cost
            if before is None or before[1] != text or before[2] != kind:
                changed[name] = {"name": clean_name(name), "type": kind, "value": text}
            seen[name] = (value, text, kind)
            if work > tracer.work_left:
                break
        tracer.spend(work)
        if not changed and len(seen) == present:
            return []
        # In the order in which they were first shown, which not every version of Python keeps.
        told = [changed[name] for name in seen if name in changed] if len(changed) > 1 else list(changed.values())
        if len(seen) > present and not tracer.ended:
            names = frozenset(
                name
                for name, value in pairs
                if type(name) is str and not (given is not None and _is_definition(name, value))
            )
            for name in [name for name in seen if name not in names]:
                del seen[name]
                told.append({"name": clean_name(name), "type": "", "value": None})
        return told


def _is_module(code):
    name = code.co_name
    return not code.co_flags & _CO_OPTIMIZED and type(name) is str and name == "<module>"


# By id, for the reason above: what a module has names for that are no variables.
_DEFINITIONS = frozenset(id(type(value)) for value in (sys, len, type, _is_module))


def _is_definition(name, value):
    return name[:2] == "__" or id(type(value)) in _DEFINITIONS


_OPCODES = opcode.opmap
_CLEAR = _OPCODES.get("LOAD_FAST_AND_CLEAR")
_STORES = {
    _OPCODES.get(name): count
    for name, count in (("STORE_FAST", 1), ("STORE_FAST_LOAD_FAST", 1), ("STORE_FAST_STORE_FAST", 2))
}


def inlined_comprehensions(code):
    """The comprehensions that are part of `code` (since Python 3.12). For each the offsets at which it starts, its
    loop has ended, and its variables are gone."""
    body = code.co_code
    names = body[::2]
    if _CLEAR is None or _CLEAR not in names:
        return ()
    # Variables that are called the same are put aside, the loop runs, and they are put back.
    found = []
    waiting = 0
    start = 0
    argument = 0
    for index, name in enumerate(names):
        argument = argument << 8 | body[2 * index + 1]
        if name == _OPCODES["EXTENDED_ARG"]:
            continue
        if name == _CLEAR:
            start = start if waiting else 2 * index
            waiting += 1
        elif name == _OPCODES["GET_ANEXT"]:
            waiting = 0
        elif name == _OPCODES["FOR_ITER"] and waiting:
            # Jumps count from the next instruction; one unit of cache lies between.
            end = index + 2 + argument
            found.append((start, 2 * end, 2 * _after_stores(names, end, waiting)))
            waiting = 0
        argument = 0
    # What puts them back when an exception leaves the loop.
    swap = _OPCODES["SWAP"]
    put_back = bytes((swap, _OPCODES["POP_TOP"], swap))
    index = names.find(put_back)
    while index >= 0:
        end = index + 3
        while end < len(names) and names[end] in _STORES:
            end += 1
        if names[end : end + 1] == bytes((_OPCODES["RERAISE"],)):
            found.append((2 * index, 2 * end, 2 * end))
        index = names.find(put_back, end)
    return found


def _after_stores(names, index, count):
    while count > 0 and index < len(names):
        count -= _STORES.get(names[index], 0)
        index += 1
    return index


def _within(comprehensions, frame, end):
    """Whether the frame is in one of them, up to its `end`: 1, of its loop; 2, of its variables."""
    at = frame.f_lasti
    for comprehension in comprehensions:
        if comprehension[0] <= at < comprehension[end]:
            return True
    return False


class _Later:
    """An immutable value whose text may not be wanted."""

    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


class _EventLog:
    """All events, up to the caps."""

    outermost = False

    def __init__(self, caps):
        self.room = caps["max_events"]
        self.left = caps["max_total_bytes"]
        self.events = []

    def add(self, event):
        """False where there is no room for the event."""
        size = 48
        if "function" in event:
            size += len(event["function"])
        if "value" in event:
            size += len(event["value"])
        if "locals" in event:
            for local in event["locals"]:
                size += 32 + len(local["name"]) + len(local["value"] or "")
        if len(self.events) >= self.room or size > self.left:
            return False
        self.left -= size
        self.events.append(event)
        return True

    def result(self):
        """The events, and whether something of them is missing."""
        return self.events, False


class _LastState:
    """What the minimal text of a trace shows: the variables before the last line of the outermost function that
    ran; of the last event where no such line ran. One event, with all variables."""

    def __init__(self, caps):
        self.max_value = caps["max_value_bytes"]
        self.left = caps["max_total_bytes"]
        self.by_depth = {}
        self.event = None
        self.variables = []
        # A line of the outermost function has run: deeper calls do not matter any more.
        self.outermost = False

    def add(self, event):
        variables = self.by_depth.setdefault(event["depth"], {})
        if event["kind"] == "call":
            variables.clear()
        for local in event.get("locals", ()):
            if local["value"] is None:
                variables.pop(local["name"], None)
            else:
                variables[local["name"]] = local
        wanted = event["kind"] == "line" and event["depth"] == 1
        if wanted or not self.outermost:
            self.outermost |= wanted
            self.event = event
            self.variables = list(variables.values())
        return True

    def result(self):
        if self.event is None:
            return [], False
        event = dict(self.event)
        shown = []
        for local in self.variables:
            text = local["value"]
            if type(text) is _Later:
                text = show(text.value, self.max_value)
            self.left -= 32 + len(local["name"]) + len(text)
            if self.left < 0:
                break
            shown.append({"name": local["name"], "type": local["type"], "value": text})
        event["locals"] = shown
        return [event], len(shown) < len(self.variables)
