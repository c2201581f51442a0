# Runs one request inside of the forked child: the program, then each test, and reports verdicts.

import _thread
import ast
import atexit
import codeop
import io
import random
import types
import warnings

try:
    from _socket import socketpair as _socketpair
except ImportError:
    _socketpair = None

_write_fd = os.write
_exit_process = os._exit
_modules = sys.modules
_compile = compile
_exec = exec
_eval = eval
_seed_random = random.seed
_set_recursion_limit = sys.setrecursionlimit
_RECURSION_LIMIT = sys.getrecursionlimit()
_AssertionError = AssertionError
_SyntaxError = SyntaxError
_PermissionError = PermissionError
_SystemExit = SystemExit
_exit_code = SystemExit.__dict__["code"].__get__
_ModuleType = types.ModuleType

PROGRAM = "<candidate>"
SETUP = "<setup>"
TEST = "<test>"
MESSAGE_LIMIT = 300
# Longest text of a value that leaves the child.
VALUE_LIMIT = 1 << 20
# Longest text, in bytes, that is told of what a script printed.
PRINTED_LIMIT = 4 << 20
# Longest input, in bytes, that a descriptor surely holds without somebody who reads it.
DESCRIPTOR_LIMIT = 64 << 10
# A program may print more than is kept, but not without end.
FLOOD_BYTES = 64 << 20
EXIT_MEMORY = 77
EXIT_STATUS_PIPE = 78
EXIT_HARNESS = 70

try:
    # 3.10 and newer can say that a source is only unfinished; their values differ by version.
    _INCOMPLETE_FLAGS = codeop.PyCF_ALLOW_INCOMPLETE_INPUT | codeop.PyCF_DONT_IMPLY_DEDENT
except AttributeError:
    _INCOMPLETE_FLAGS = None
_DEDENT_FLAG = getattr(codeop, "PyCF_DONT_IMPLY_DEDENT", 0)


class Status:
    """The pipe on which verdicts leave. Every record carries the request's nonce."""

    __slots__ = ("fd", "nonce")

    def __init__(self, fd, nonce):
        self.fd = fd
        self.nonce = nonce

    def send(self, record):
        self._write(self._framed(encode(record).encode("ascii")))

    def send_all(self, records, lives_on):
        """Records; and where this process lives on after them, its last word: a record of nothing."""
        bodies = [encode(record).encode("ascii") for record in records]
        self._write(b"".join(map(self._framed, bodies + [b""] * lives_on)))

    def _framed(self, body):
        return self.nonce.encode("ascii") + b"%08x" % len(body) + body

    def _write(self, data):
        view = 0
        try:
            while view < len(data):
                view += _write_fd(self.fd, data[view : view + 65536])
        except _MEMORY_ERROR:
            raise
        except BaseException:
            _exit_process(EXIT_STATUS_PIPE)


class Output(io.RawIOBase):
    """Takes what the program prints: keeps the last `limit` bytes, and ends a flood."""

    def __init__(self):
        self._limit = 0
        self._tail = b""
        self._total = 0
        self._on_flood = None

    def writable(self):
        return True

    def isatty(self):
        return False

    def fileno(self):
        raise io.UnsupportedOperation("fileno")

    def write(self, data):
        size = len(data)
        self._total += size
        keep = bytes(data[-self._limit :]) if self._limit else b""
        self._tail = (self._tail + keep)[-self._limit :] if self._limit else b""
        if self._total > FLOOD_BYTES and self._on_flood is not None:
            self._on_flood()
        return size

    def take(self):
        tail = self._tail
        self._tail = b""
        return tail.decode("utf-8", "replace")


class Printed(io.RawIOBase):
    """Takes what a script prints: keeps all of it, up to a limit, and ends a flood."""

    def __init__(self, on_flood):
        self._parts = []
        self._total = 0
        self._on_flood = on_flood

    def writable(self):
        return True

    def isatty(self):
        return False

    def write(self, data):
        size = len(data)
        self._total += size
        if self._total <= PRINTED_LIMIT:
            self._parts.append(bytes(data))
        elif self._total > FLOOD_BYTES:
            self._on_flood()
        return size

    def text(self):
        """None where it is too much."""
        if self._total > PRINTED_LIMIT:
            return None
        return b"".join(self._parts).decode("utf-8", "replace")


class Input(io.BytesIO):
    """What a script reads."""

    def fileno(self):
        if not self._has_descriptor:
            raise io.UnsupportedOperation("fileno")
        return 0


def fill_descriptor(data):
    """Makes `data` what descriptor 0 gives, for `open(0)` and `os.read`; False where it is too much for that."""
    if _socketpair is None:
        return False
    try:
        inner, outer = _socketpair()
        fits = len(data) <= DESCRIPTOR_LIMIT
        if fits:
            outer.setblocking(False)
            fits = outer.send(data) == len(data)
        os.dup2(inner.fileno(), 0)
        inner.close()
        outer.close()
        return fits
    except OSError:
        # An earlier test has left no descriptor.
        return False


def redirect_output(output):
    """Gives the program its own standard streams."""
    sys.stdout = io.TextIOWrapper(output, encoding="utf-8", errors="backslashreplace", write_through=True)
    sys.stderr = io.TextIOWrapper(output, encoding="utf-8", errors="backslashreplace", write_through=True)
    sys.stdin = io.TextIOWrapper(io.BytesIO(b""), encoding="utf-8")
    sys.__stdout__, sys.__stderr__, sys.__stdin__ = sys.stdout, sys.stderr, sys.stdin


def syntax_verdict(error):
    message = error.msg if type(error.msg) is str else "invalid syntax"
    return {"verdict": "syntax_error", "message": clean(message[:MESSAGE_LIMIT]), "line": bounded_line(error.lineno)}


def describe(error, difference):
    """The verdict for an exception that left the program or the test."""
    kind = type(error)
    line = last_line_in(error, PROGRAM)
    if kind is _MEMORY_ERROR:
        return {"verdict": "memory"}
    if kind is _AssertionError and innermost_file(error) == TEST:
        message = exception_message(error, MESSAGE_LIMIT)
        return {"verdict": "failed", "message": message or difference()}
    message = exception_message(error, MESSAGE_LIMIT)
    if kind is _PermissionError:
        return {"verdict": "forbidden", "message": ("PermissionError: " + message).rstrip(": ")}
    return {"verdict": "exception", "kind": type_name(error), "message": message, "line": line}


def compile_program(source, filename):
    return _compile(source, filename, "exec", 0, True)


def compile_test(source):
    """Code of a test. `assert a == b` keeps both values, so that a failure can show them."""
    tree = _compile(source, TEST, "exec", ast.PyCF_ONLY_AST, True)
    shows = False
    if len(tree.body) == 1 and type(tree.body[0]) is ast.Assert:
        test = tree.body[0].test
        if type(test) is ast.Compare and len(test.ops) == 1 and type(test.ops[0]) is ast.Eq:
            left, right = test.left, test.comparators[0]
            keep = []
            for name, value in (("_vigor_left", left), ("_vigor_right", right)):
                keep.append(ast.Assign(targets=[ast.Name(name, ast.Store())], value=value))
            test.left = ast.Name("_vigor_left", ast.Load())
            test.comparators = [ast.Name("_vigor_right", ast.Load())]
            tree.body[0:0] = keep
            for node in keep + [test.left, test.comparators[0]]:
                ast.copy_location(node, left)
            ast.fix_missing_locations(tree)
            shows = True
    return _compile(tree, TEST, "exec", 0, True), shows


def run_request(request, status, output):
    """Runs the tests of one candidate, each after a fresh execution of the program."""
    codes = []
    try:
        if request["setup"]:
            codes.append(compile_program(request["setup"], SETUP))
        codes.append(compile_program(request["code"], PROGRAM))
    except _SyntaxError as error:
        status.send({"record": "program", "verdict": syntax_verdict(error)})
        return
    except (ValueError, OverflowError, RecursionError) as error:
        # A NUL character, or nesting that the compiler refuses.
        verdict = {"verdict": "syntax_error", "message": exception_message(error, MESSAGE_LIMIT), "line": 0}
        status.send({"record": "program", "verdict": verdict})
        return
    # All before the program runs for the first time: what the compiler needs could be changed by then.
    tests = [prepared(test) for test in request["tests"]]
    output._limit = request["output_bytes"]
    for test in tests:
        passed = run_test(codes, test, request["trace"], status, output)
        if passed is None or not (passed or request["keep_going"]):
            return


class InsideTest:
    """A test that is judged here, where the program is."""

    is_script = False

    def __init__(self, source):
        self.code, self.shows = compile_test(source)

    def run(self, space):
        _exec(self.code, space)

    def difference(self, space):
        """Both sides of the comparison that failed."""
        if not self.shows:
            return ""
        left, right = space.get("_vigor_left", _MISSING), space.get("_vigor_right", _MISSING)
        return "got %s, expected %s" % (show(left, MESSAGE_LIMIT // 2), show(right, MESSAGE_LIMIT // 2))

    def answers(self):
        return []


class OutsideTest:
    """Calls, of which only the values are told."""

    is_script = False

    def __init__(self, prelude, asks):
        self.prelude = compile_program(prelude, TEST) if prelude else None
        self.asks = [(_compile(expression, TEST, "eval", 0, True), kind) for expression, kind in asks]
        self.told = []

    def run(self, space):
        if self.prelude is not None:
            _exec(self.prelude, space)
        for code, kind in self.asks:
            self.told.append(answer(_eval(code, space), kind))

    def difference(self, space):
        return ""

    def answers(self):
        return self.told


def answer(value, kind):
    """A value as whoever compares it needs it; without one where it is no plain data."""
    shown = show(value, MESSAGE_LIMIT // 2)
    if kind == "truth":
        return {"shown": shown, "value": "true" if value else "false"}
    try:
        tree = tree_of(value)
        text = canonical(tree) if kind == "equal" else encode(tree)
    except (NotPlain, ArithmeticError, ValueError, RecursionError):
        text = None
    return {"shown": shown, "value": text if text is not None and len(text) <= VALUE_LIMIT else None}


class BrokenTest:
    """A test that cannot be run; whoever planned it knows."""

    is_script = False

    def run(self, space):
        raise _AssertionError

    def difference(self, space):
        return ""

    def answers(self):
        return []


class ScriptTest:
    """The program as a script, of which only what it printed is told."""

    is_script = True

    def __init__(self, stdin):
        self.stdin = stdin.encode("utf-8")
        self.printed = None

    def open(self, space, on_flood):
        """Gives the script its streams."""
        self.before = sys.stdin, sys.stdout, sys.stderr
        data = Input(self.stdin)
        data._has_descriptor = fill_descriptor(self.stdin)
        self.printed = Printed(on_flood)
        self.stream = io.TextIOWrapper(
            io.BufferedWriter(self.printed, 1 << 16), encoding="utf-8", errors="backslashreplace"
        )
        sys.stdin = sys.__stdin__ = io.TextIOWrapper(data, encoding="utf-8", errors="surrogateescape")
        sys.stdout = sys.__stdout__ = self.stream
        # Python's own start-up gives scripts these two.
        space["exit"] = space["quit"] = sys.exit
        # What libraries left to be done at the end is none of the script's business.
        atexit._clear()

    def run(self, codes, space):
        try:
            for code in codes:
                _exec(code, space)
        except _SystemExit as error:
            code = _exit_code(error)
            if not (code is None or type(code) is int and code == 0):
                raise
        wait_for_threads()
        atexit._run_exitfuncs()

    def close(self):
        """Takes the streams back, with what was printed."""
        try:
            self.stream.flush()
        except BaseException:
            # It was closed, which flushes it too.
            pass
        sys.stdin, sys.stdout, sys.stderr = self.before
        sys.__stdin__, sys.__stdout__, sys.__stderr__ = self.before

    def difference(self, space):
        return ""

    def answers(self):
        return [{"shown": "", "value": self.printed.text()}]


def wait_for_threads():
    """As the interpreter does before it ends."""
    threading = _modules.get("threading")
    # Executors that nobody shut down tell their threads to end.
    for call in reversed(getattr(threading, "_threading_atexits", ())):
        call()
    while threading is not None:
        main = threading.main_thread()
        waiting = [thread for thread in threading.enumerate() if thread is not main and not thread.daemon]
        if not waiting:
            return
        for thread in waiting:
            thread.join()


def prepared(test):
    if "stdin" in test:
        return ScriptTest(test["stdin"])
    if "source" not in test:
        return OutsideTest(test["prelude"], test["asks"])
    try:
        return InsideTest(test["source"])
    except (_SyntaxError, ValueError, OverflowError, RecursionError):
        return BrokenTest()


def run_test(codes, test, caps, status, output):
    """True: ran to its end, False: did not, None: the program itself failed, which is the verdict of all tests."""
    tracer = Tracer(PROGRAM, caps, test.is_script) if caps is not None else None

    def report(record, verdict):
        if test.is_script:
            test.close()
        trace = tracer.result() if tracer is not None else None
        told = {"record": record, "verdict": verdict, "answers": test.answers(), "trace": trace, "output": output.take()}
        status.send(told)

    def flood():
        _set_trace(None)
        report("test", {"verdict": "output"})
        _exit_process(0)

    output._on_flood = flood
    name = "__main__" if test.is_script else "solution"
    module = _ModuleType(name)
    space = module.__dict__
    _modules[name] = module
    _seed_random(0)
    record = "program"
    if test.is_script:
        # It is another run with every input: how it ends says nothing of the other tests.
        record = "test"
        status.send({"record": "loaded"})
        test.open(space, flood)
    try:
        if tracer is not None:
            tracer.start()
        if test.is_script:
            test.run(codes, space)
        else:
            for code in codes:
                _exec(code, space)
            record = "test"
            status.send({"record": "loaded"})
            test.run(space)
        verdict = {"verdict": "passed"}
    except BaseException as error:
        if tracer is not None:
            tracer.stop()
        verdict = describe(error, lambda: test.difference(space))
        if verdict["verdict"] == "memory":
            # Make room, or the report would fail for the same reason.
            error = None
            space.clear()
    else:
        if tracer is not None:
            tracer.stop()
    _set_recursion_limit(_RECURSION_LIMIT)
    output._on_flood = None
    report(record, verdict)
    if record == "program":
        return None
    return verdict["verdict"] == "passed"


def classify(source):
    """CPython's own verdict on a source: complete, not finished yet, or beyond repair."""
    # In this mode the flags change nothing but what an error at the end of the source is called, so one look is enough.
    # Where the last newline is missing, it is the plain compiler's word that counts.
    flags = (_INCOMPLETE_FLAGS or 0) if source.endswith("\n") else 0
    try:
        _compile(source, PROGRAM, "exec", flags, True)
        return {"verdict": "complete"}
    except _SyntaxError as error:
        if flags and _says_incomplete(error):
            return {"verdict": "incomplete"}
        message = clean((error.msg if type(error.msg) is str else "invalid syntax")[:MESSAGE_LIMIT])
    except (ValueError, OverflowError, RecursionError) as error:
        return {"verdict": "invalid", "message": exception_message(error, MESSAGE_LIMIT) or "too complex"}
    try:
        incomplete = not flags and _is_incomplete(source)
    except (ValueError, OverflowError, RecursionError):
        incomplete = False
    return {"verdict": "incomplete"} if incomplete else {"verdict": "invalid", "message": message}


def _says_incomplete(error):
    return error.msg == "incomplete input" or type(error) is not _SyntaxError and "Incomplete" in type_name(error)


def _is_incomplete(source):
    if not source.endswith("\n"):
        source += "\n"
    if _INCOMPLETE_FLAGS is not None:
        try:
            _compile(source, PROGRAM, "exec", _INCOMPLETE_FLAGS, True)
        except _SyntaxError as error:
            return _says_incomplete(error)
        return True
    # Python 3.9: an error that moves when a line is added is an error about the end of the source.
    errors = []
    for tail in ("", "\n"):
        try:
            _compile(source + tail, PROGRAM, "exec", _DEDENT_FLAG, True)
            return True
        except _SyntaxError as error:
            errors.append((error.msg, error.lineno, error.offset))
    return errors[0] != errors[1]


def plan_all(request, status, output):
    for source in request["tests"]:
        status.send({"record": "plan", "plan": plan(source)})


def judge_all(request, status, output):
    for item in request["items"]:
        status.send({"record": "judged", "judged": judge(item)})


TASKS = {"run": run_request, "plan": plan_all, "judge": judge_all}


def read_request(request_fd):
    size = int.from_bytes(read_exactly(request_fd, 4), "little")
    return parse_json(read_exactly(request_fd, size).decode("utf-8"))


def run_compiler(request_fd, status_fd, seal, output):
    """The life of the child that compiles: lock the door, then answer one request after the other. Nothing that it is
    given runs. Out of memory it ends, like every child; and after a source that took much of it, so that no verdict
    depends on the sources before."""
    sealed = False
    while True:
        request = read_request(request_fd)
        status = Status(status_fd, request["nonce"])
        if not sealed:
            set_limits(request["memory_mb"], request["cpu_seconds"])
            seal()
            sealed = True
        gates = [{"record": "gate", "gate": classify(source)} for source in request["sources"]]
        lives_on = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < COMPILER_KIB
        status.send_all(gates, lives_on)
        if not lives_on:
            return


def run_child(request_fd, status_fd, seal, output):
    """The whole life of a child: wait for a request, lock the door, run it, leave without clean-up."""
    request = read_request(request_fd)
    os.close(request_fd)
    status = Status(status_fd, request.pop("nonce"))
    code = EXIT_HARNESS
    try:
        set_limits(request["memory_mb"], request["cpu_seconds"])
        seal()
        TASKS[request["op"]](request, status, output)
        code = 0
    except _MEMORY_ERROR:
        code = EXIT_MEMORY
    except BaseException as error:
        try:
            message = type_name(error) + ": " + exception_message(error, MESSAGE_LIMIT)
            status.send({"record": "harness", "message": message})
        except BaseException:
            pass
    _exit_process(code)
