# How values of the program under test become text, without ever running its code.
#
# This file, plain.py, tracer.py, hooks.py, runner.py, judge.py and zygote.py are joined, in this order, into one source
# and executed in a namespace with a private copy of the builtins, before any program runs: patching `builtins` or a module changes nothing
# here. No function of this file calls a method that a program could have defined: only exact built-in types
# are looked into, through methods taken from the types themselves.

import collections
import os
import sys

_class_name = type.__dict__["__name__"].__get__
_exception_args = BaseException.__dict__["args"].__get__
_exception_traceback = BaseException.__dict__["__traceback__"].__get__
_MEMORY_ERROR = MemoryError
_NAME_LIMIT = 100
_DEPTH_LIMIT = 5
_MEMBERS_LIMIT = 4096


def clean(text):
    """The exact str `text` with lone surrogates escaped, so that it is valid UTF-8."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
        return text
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def clean_name(name):
    """A name as reports hold it: short, and on one line. Names can be made of any characters."""
    if type(name) is not str:
        return "?"
    name = name[:_NAME_LIMIT]
    return name if name.isprintable() else clean(repr(name)[1:-1])


def type_name(value):
    try:
        return clean_name(_class_name(type(value)))
    except _MEMORY_ERROR:
        raise
    except BaseException:
        return "?"


class _Full(Exception):
    """The text reached its limit."""


class _Writer:
    __slots__ = ("parts", "left", "members")

    def __init__(self, limit, members=0):
        self.parts = []
        self.left = limit
        # Members of sets shown so far: unlike other work, the limit on the text does not bound it.
        self.members = members

    def put(self, text):
        if len(text) > self.left:
            self.parts.append(text[: self.left])
            self.left = 0
            raise _Full
        self.left -= len(text)
        self.parts.append(text)


def _put_int(value, out):
    # repr of a huge int is quadratic, and refused by newer versions.
    if value.bit_length() > 512:
        out.put("<int of %d bits>" % value.bit_length())
    else:
        out.put(int.__repr__(value))


def _put_text(value, out):
    whole = len(value) <= out.left
    text = repr(value if whole else value[: out.left])
    out.put(text if whole else text[:-1])
    if not whole:
        raise _Full


def _put_sequence(items, out, depth, opening, closing, size=0):
    out.put(opening)
    for index, item in enumerate(items):
        if index:
            out.put(", ")
        _put(item, out, depth + 1)
    if size == 1:
        out.put(",")
    out.put(closing)


def _put_set(value, out, depth, opening, closing):
    # Ordered by text: the order inside of a set depends on hashes, which may depend on addresses.
    items = []
    for item in value:
        inner = _Writer(out.left, out.members)
        try:
            _put(item, inner, depth + 1)
        except _Full:
            pass
        items.append("".join(inner.parts))
        out.members = inner.members + 1
        if out.members > _MEMBERS_LIMIT:
            break
    items.sort()
    out.put(opening)
    out.put(", ".join(items))
    out.put(closing)


def _put_mapping(pairs, out, depth, opening, closing):
    out.put(opening)
    first = True
    for key, item in pairs:
        if not first:
            out.put(", ")
        first = False
        _put(key, out, depth + 1)
        out.put(": ")
        _put(item, out, depth + 1)
    out.put(closing)


_dict_items = dict.items
_dict_keys = dict.keys
_ordered_items = collections.OrderedDict.items
_OrderedDict = collections.OrderedDict
_Counter = collections.Counter
_defaultdict = collections.defaultdict
_deque = collections.deque


def _put(value, out, depth):
    kind = type(value)
    if kind is int:
        _put_int(value, out)
    elif kind is str or kind is bytes:
        _put_text(value, out)
    elif kind is bool or value is None or kind is float or kind is complex or value is ...:
        out.put(repr(value))
    elif depth >= _DEPTH_LIMIT and id(kind) in _CONTAINERS:
        out.put("…")
    elif kind is list:
        _put_sequence(value, out, depth, "[", "]")
    elif kind is tuple:
        _put_sequence(value, out, depth, "(", ")", len(value))
    elif kind is dict:
        _put_mapping(_dict_items(value), out, depth, "{", "}")
    elif kind is set:
        if value:
            _put_set(value, out, depth, "{", "}")
        else:
            out.put("set()")
    elif kind is frozenset:
        _put_set(value, out, depth, "frozenset({", "})")
    elif kind is bytearray:
        out.put("bytearray(")
        _put_text(bytes(value[: out.left + 1]), out)
        out.put(")")
    elif kind is range:
        small = all(part.bit_length() < 128 for part in (value.start, value.stop, value.step))
        out.put(repr(value) if small else "range(…)")
    elif kind is _deque:
        _put_sequence(value, out, depth, "deque([", "])")
    elif kind is _Counter:
        _put_mapping(_dict_items(value), out, depth, "Counter({", "})")
    elif kind is _defaultdict:
        _put_mapping(_dict_items(value), out, depth, "defaultdict({", "})")
    elif kind is _OrderedDict:
        # Its own order is found by hashing the keys.
        safe = len(value) <= _MEMBERS_LIMIT and all(map(_is_plain, _dict_keys(value)))
        items = _ordered_items(value) if safe else _dict_items(value)
        _put_mapping(items, out, depth, "OrderedDict({", "})")
    else:
        out.put("<%s>" % type_name(value))


# Sets of types hold their ids: the hash of a class can be a method of the program.
_CONTAINERS = frozenset(
    id(kind) for kind in (list, tuple, dict, set, frozenset, _deque, _Counter, _defaultdict, _OrderedDict)
)


def show(value, limit):
    """Text of `value`, at most `limit` characters and an ellipsis. Never runs the program's code."""
    return show_with_cost(value, limit)[0]


_SMALL = 1 << 62
_SMALL_LENGTH = 32


def _is_small(value):
    """Whether `value` is an int that is not huge, or a short list or tuple of those."""
    kind = type(value)
    if kind is int:
        return -_SMALL < value < _SMALL
    if kind is list or kind is tuple:
        if len(value) > _SMALL_LENGTH:
            return False
        for item in value:
            if type(item) is not int or not -_SMALL < item < _SMALL:
                return False
        return True
    return False


def show_with_cost(value, limit):
    """The text, and how much work it was, in units of very roughly 50 ns."""
    if _is_small(value):
        # What programs for tests mostly have: their own text is the same, and quicker.
        text = repr(value)
        if len(text) <= limit:
            return text, 64 + 4 * len(text)
    out = _Writer(limit)
    try:
        _put(value, out, 0)
        tail = ""
    except _Full:
        tail = "…"
    except _MEMORY_ERROR:
        raise
    except BaseException:
        return "<%s>" % type_name(value), 64 + 8 * out.members
    text = clean("".join(out.parts) + tail)
    return text, 64 + 4 * len(text) + 8 * out.members


_SYNTAX_ERRORS = frozenset(id(kind) for kind in (SyntaxError, IndentationError, TabError))
_PLAIN = frozenset(id(kind) for kind in (str, int, float, bool, type(None)))
_BUILTIN_EXCEPTIONS = frozenset(
    id(kind)
    for kind in vars(__import__("builtins")).values()
    if type(kind) is type and issubclass(kind, BaseException)
)
# What `str` of a built-in exception can be made of, apart from its arguments.
_TEXT_ATTRIBUTES = ("errno", "strerror", "filename", "filename2", "msg", "encoding", "object", "reason")


def _is_plain(value):
    """Whether neither its hash nor its text can run code of the program."""
    if type(value) is tuple:
        return len(value) <= 16 and all(id(type(item)) in _PLAIN for item in value)
    return id(type(value)) in _PLAIN


def exception_message(error, limit):
    """What `str(error)` would say where that runs no code of the program; else its arguments, shown safely."""
    try:
        args = _exception_args(error)
        if type(args) is not tuple:
            return ""
        if id(type(error)) in _SYNTAX_ERRORS and type(error.msg) is str:
            # Their arguments hold the source line too.
            return clean(error.msg[:limit])
        plain = all(id(type(arg)) in _PLAIN for arg in args)
        if plain and sum(len(arg) for arg in args if type(arg) is str) < 100000:
            if (
                id(type(error)) in _BUILTIN_EXCEPTIONS
                and all(type(arg) is not int or arg.bit_length() < 512 for arg in args)
                and all(_is_plain(getattr(error, name, None)) for name in _TEXT_ATTRIBUTES)
            ):
                text = str(error)
                if len(text) > limit:
                    text = text[:limit] + "…"
                return clean(text)
        if len(args) == 1 and type(args[0]) is str:
            text = args[0]
            return clean(text if len(text) <= limit else text[:limit] + "…")
        return show(args[0] if len(args) == 1 else args, limit) if args else ""
    except _MEMORY_ERROR:
        raise
    except BaseException:
        return ""


def bounded_line(line):
    """A line number as reports can hold it: code objects can claim any."""
    return line if type(line) is int and 0 < line < 1 << 31 else 0


def last_line_in(error, filename):
    """Line number, in the source `filename`, of the innermost frame of the traceback; 0 when there is none."""
    line = 0
    entry = _exception_traceback(error)
    steps = 0
    while entry is not None and steps < 100000:
        if entry.tb_frame.f_code.co_filename == filename:
            line = bounded_line(entry.tb_lineno)
        entry = entry.tb_next
        steps += 1
    return line


def innermost_file(error):
    """Name of the source in which the exception arose."""
    entry = _exception_traceback(error)
    name = ""
    steps = 0
    while entry is not None and steps < 100000:
        name = entry.tb_frame.f_code.co_filename
        entry = entry.tb_next
        steps += 1
    return name


try:
    from _json import encode_basestring_ascii as _quote
except ImportError:
    from json.encoder import py_encode_basestring_ascii as _quote


try:
    from _json import make_encoder

    # The one of the json module, made here: a program may patch that module.
    _quick_encoder = make_encoder(None, None, _quote, None, ":", ",", False, False, True)
except (ImportError, TypeError):
    _quick_encoder = None


def encode(value):
    """JSON of plain data."""
    if _quick_encoder is not None:
        text = "".join(_quick_encoder(value, 0))
        # Half of a surrogate pair is no text; whether it is a half is looked at below.
        if "\\ud" not in text:
            return text
    parts = []
    _encode(value, parts)
    return "".join(parts)


def _encode(value, parts):
    if value is None:
        parts.append("null")
    elif value is True:
        parts.append("true")
    elif value is False:
        parts.append("false")
    elif type(value) is str:
        parts.append(_quote(clean(value)))
    elif type(value) is int:
        parts.append(str(value))
    elif type(value) is list:
        parts.append("[")
        for index, item in enumerate(value):
            if index:
                parts.append(",")
            _encode(item, parts)
        parts.append("]")
    else:
        parts.append("{")
        first = True
        for key, item in value.items():
            if not first:
                parts.append(",")
            first = False
            parts.append(_quote(clean(key)))
            parts.append(":")
            _encode(item, parts)
        parts.append("}")
