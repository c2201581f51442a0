# The process that forks a child for every request. It never runs code of a program; it is the parent that
# outlives them: it keeps the deadlines, reaps, and passes on what a child said without believing it.

import gc
import resource
import select
import signal
import stat
import time
from json import loads as parse_json

CONTROL = 3
# How long a process may take to leave after it closed its descriptors.
LEAVING_MS = 1000
SCRATCH = "/scratch"
# What `listen` says of a child that has answered and waits for its next request.
KEPT = "kept"
# The compiler is replaced after so many requests, and after so many seconds: its limit of CPU time holds for all of
# them together.
COMPILER_REQUESTS = 256
COMPILER_SECONDS = 5.0
# And after a request at the end of which it had used so much memory.
COMPILER_KIB = 96 << 10

# How often, and how many seconds apart, a fork that the system has no room for is tried.
FORK_TRIES = 40
FORK_PAUSE = 0.05

# Longest file that a program may write, in bytes; 0: it has no scratch space.
longest_file = 0
has_limits = True


def read_exactly(fd, size):
    parts = []
    while size:
        part = os.read(fd, min(size, 1 << 20))
        if not part:
            # The other side is gone: there is nobody to answer to.
            os._exit(0)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_frame():
    size = int.from_bytes(read_exactly(CONTROL, 4), "little")
    return read_exactly(CONTROL, size)


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def send_frame(header, body=b""):
    head = encode(header).encode("ascii")
    write_all(CONTROL, len(head).to_bytes(4, "little") + head + len(body).to_bytes(4, "little"))
    write_all(CONTROL, body)


def set_limits(memory_mb, cpu_seconds):
    if not has_limits:
        return
    size = memory_mb << 20
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (longest_file, longest_file))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def make_seal(program_hex, own_pid):
    """A function that installs the second system-call filter, and what to say about it. In the filter, `own_pid` stands
    for the number of the process that it is for."""
    if not program_hex:
        return (lambda: None), False, "not asked for"
    try:
        import ctypes

        class Program(ctypes.Structure):
            _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

        code = bytes.fromhex(program_hex)
        place = code.index(own_pid.to_bytes(4, sys.byteorder))
        buffer = ctypes.create_string_buffer(code, len(code))
        program = Program(len(code) // 8, ctypes.addressof(buffer))
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
        address = ctypes.addressof(program)
        keep = program
    except BaseException as error:
        return (lambda: None), False, "no ctypes in this Python: " + exception_message(error, 200)

    def seal(buffer=buffer, keep=keep):
        buffer[place : place + 4] = os.getpid().to_bytes(4, sys.byteorder)
        # 22 = PR_SET_SECCOMP, 2 = SECCOMP_MODE_FILTER
        if prctl(22, 2, address, 0, 0) != 0:
            os._exit(EXIT_HARNESS)

    pid = os.fork()
    if pid == 0:
        seal()
        try:
            os.fork()
            os._exit(1)
        except PermissionError:
            os._exit(0)
        except BaseException:
            os._exit(2)
    _, status, _ = os.wait4(pid, 0)
    if status != 0:
        return (lambda: None), False, "the filter was refused (status %d)" % status
    return seal, True, "allow-list of system calls for each child"


def has_ended(pid, milliseconds):
    """Whether a child ends within that time."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        # A kernel, or a Python made for one, before 5.3: nobody can tell.
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(milliseconds))
    finally:
        os.close(descriptor)


def fork():
    """As os.fork, with patience: the system may have no room for a process just now."""
    for _ in range(FORK_TRIES):
        try:
            return os.fork()
        except OSError as error:
            last = error
        time.sleep(FORK_PAUSE)
    raise last


def own_standard_streams():
    """Opens /dev/null anew: flags that one child sets on its streams must not be there for the next."""
    try:
        null = os.open("/dev/null", os.O_RDWR)
    except OSError:
        null = 1
    for fd in (0, 1, 2):
        os.dup2(null, fd)


def empty_scratch():
    """Removes what a child left, without going deeper than one level, however deep it lies."""
    try:
        os.chmod(SCRATCH, 0o777)
    except PermissionError:
        # It is not ours, nor was it the child's: nobody changed it.
        pass
    lifted = 0
    while True:
        names = os.listdir(SCRATCH)
        if not names:
            return
        for name in names:
            path = SCRATCH + "/" + name
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                os.unlink(path)
                continue
            os.chmod(path, 0o700)
            for inner in os.listdir(path):
                # A name that nothing has: the child could not know which comes next.
                while True:
                    lifted += 1
                    place = "%s/lifted-%d" % (SCRATCH, lifted)
                    if not os.path.lexists(place):
                        break
                os.rename(path + "/" + inner, place)
            os.rmdir(path)


class Child:
    """A forked child that waits for its request; where `life` is not `run_child`, for several."""

    def __init__(self, seal, output, life=run_child):
        request_read, self.request = os.pipe()
        self.status, status_write = os.pipe()
        try:
            self.pid = fork()
        except OSError:
            for fd in (request_read, self.request, self.status, status_write):
                os.close(fd)
            raise
        if self.pid == 0:
            try:
                own_standard_streams()
                if longest_file:
                    sys.path.insert(0, SCRATCH)
                os.dup2(status_write, 100)
                os.dup2(request_read, 101)
                os.closerange(3, 100)
                os.closerange(102, 256)
                # Low numbers again, so that a low limit on open files holds.
                os.dup2(100, 3)
                os.dup2(101, 4)
                os.close(100)
                os.close(101)
                life(4, 3, seal, output)
            finally:
                os._exit(EXIT_HARNESS)
        os.close(request_read)
        os.close(status_write)

    def run(self, header, payload):
        """Feeds the child, listens until it is done or its time is over, reaps it."""
        ended, data = self.listen(header, payload)
        return self.reap(ended), data

    def listen(self, header, payload):
        """Feeds the child and listens. It is done when it closes its pipe or, where it is kept, says its last word."""
        last_word = header["last_word"].encode("ascii")
        os.set_blocking(self.request, False)
        now = time.monotonic()
        total = now + header["total"]
        idle = now + header["idle"]
        data = []
        size = 0
        tail = b""
        ended = None
        to_send = memoryview(len(payload).to_bytes(4, "little") + payload)
        poll = select.poll()
        poll.register(self.status, select.POLLIN)
        poll.register(CONTROL, select.POLLRDHUP)
        poll.register(self.request, select.POLLOUT)
        while ended is None:
            wait = min(total, idle) - time.monotonic()
            if wait <= 0:
                ended = "timeout"
                break
            for fd, event in poll.poll(wait * 1000 + 1):
                if fd == CONTROL:
                    os.kill(self.pid, signal.SIGKILL)
                    os._exit(0)
                elif fd == self.request:
                    try:
                        to_send = to_send[os.write(fd, to_send[:65536]) :]
                    except BlockingIOError:
                        continue
                    except OSError:
                        to_send = to_send[:0]
                    if not to_send:
                        poll.unregister(fd)
                else:
                    part = os.read(fd, 1 << 18)
                    if not part:
                        ended = "closed"
                        break
                    data.append(part)
                    size += len(part)
                    # Every test has its own time.
                    idle = time.monotonic() + header["idle"]
                    if size > header["cap"]:
                        ended = "flood"
                        break
                    if last_word:
                        tail = (tail + part)[-len(last_word) :]
                        if tail == last_word:
                            return KEPT, b"".join(data)[: -len(last_word)]
        return ended, b"".join(data)

    def reap(self, ended):
        """Ends the child; says how it ended."""
        # A child that closed its pipe has nothing more to say: it is leaving, or it does not want to be heard.
        if ended == "closed" and not has_ended(self.pid, LEAVING_MS):
            ended = "hung up"
        os.kill(self.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        os.close(self.request)
        os.close(self.status)
        milliseconds = int((usage.ru_utime + usage.ru_stime) * 1000)
        reply = {"ended": ended, "cpu_ms": milliseconds}
        if os.WIFSIGNALED(status):
            reply["signal"] = os.WTERMSIG(status)
        else:
            reply["exit"] = os.WEXITSTATUS(status)
        return reply


class Compiler:
    """The child that answers what is only to be compiled. As nothing of it runs, one child can answer many requests; it
    is replaced before what they left in it could tell."""

    def __init__(self, seal, output):
        self.seal = seal
        self.output = output
        self.child = None

    def run(self, header, payload):
        if self.child is None:
            self.child = Child(self.seal, self.output, run_compiler)
            self.requests = 0
            self.seconds = 0.0
        begun = time.monotonic()
        ended, data = self.child.listen(header, payload)
        self.requests += 1
        self.seconds += time.monotonic() - begun
        if ended == KEPT:
            reply = {"ended": KEPT, "cpu_ms": 0}
            if self.requests >= COMPILER_REQUESTS or self.seconds >= COMPILER_SECONDS:
                self.end()
        else:
            child, self.child = self.child, None
            reply = child.reap(ended)
        return reply, data

    def end(self):
        child, self.child = self.child, None
        if child is not None:
            child.reap("replaced")


def preload():
    """Modules that programs import most: loaded once, every child has them for nothing."""
    import bisect, copy, datetime, fractions, functools, heapq, itertools, json, math, operator, re, string, typing
    import dataclasses, decimal, statistics

    functools, itertools, math


def warm_up():
    """Runs the paths that every child runs, so that their pages and caches are ready."""
    code = _compile("def f(a):\n    b = [a]\n    return b\n", PROGRAM, "exec", 0, True)
    tracer = Tracer(PROGRAM, {"max_events": 10, "max_value_bytes": 50, "max_total_bytes": 1000})
    space = {}
    tracer.start()
    _exec(code, space)
    OutsideTest("", [["f(1)", "equal"]]).run(space)
    tracer.stop()
    encode(tracer.result())


def load_packages(folders, names):
    """Imports modules from `folders`, for all children; returns the first that cannot be, and why."""
    import importlib

    sys.path.extend(folders)
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException as error:
            return [name, type_name(error) + ": " + exception_message(error, 300)]
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        # Not from the system's randomness: every child begins with the same state.
        numpy.random.seed(0)
    return None


def zygote(init):
    global longest_file, has_limits
    longest_file = init["longest_file"]
    has_limits = init["limits"]
    warnings.simplefilter("ignore")
    # The current directory; a program may have put something there.
    sys.path[:] = [path for path in sys.path if path]
    if longest_file:
        os.chdir(SCRATCH)
    seal, sealed, detail = make_seal(init["child_filter"], init["own_pid"])
    preload()
    not_loaded = load_packages(init["packages"], init["preload"])
    warm_up()
    # Made once: every child inherits a copy of its own.
    output = Output()
    redirect_output(output)
    version = "%d.%d.%d" % sys.version_info[:3]
    send_frame({"version": version, "sealed": sealed, "detail": detail, "not_loaded": not_loaded})
    gc.collect()
    gc.freeze()
    compiler = Compiler(seal, output)
    while True:
        try:
            child, problem = Child(seal, output), None
        except OSError as error:
            child, problem = None, error
        # A function of its own: what it was told is not to be found in the frames around the next child.
        while not serve(child, problem, compiler):
            pass
        if longest_file:
            # Where this fails the worker ends, and another takes its place.
            empty_scratch()


def serve(child, problem, compiler):
    """One request. True: the child has had it."""
    header = parse_json(read_frame().decode("utf-8"))
    payload = read_frame()
    if header["last_word"]:
        try:
            send_frame(*compiler.run(header, payload))
        except OSError as error:
            send_no_child(error)
        return False
    if child is None:
        send_no_child(problem)
    else:
        send_frame(*child.run(header, payload))
    return True


def send_no_child(problem):
    send_frame({"ended": "no child", "cpu_ms": 0}, exception_message(problem, 200).encode("utf-8"))
