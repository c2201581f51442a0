# Plain data as text: what leaves a child as the value of a call, to be compared outside.
#
# A value becomes a tree of lists and texts that says its exact type (`tree_of`); from it come back the value
# (`value_of`, where only trusted code runs) and a text that is the same for two values where Python says that they
# are equal (`canonical`). Only built-in types, a few of the standard library, and subclasses of them that leave
# `==` as it is are plain: an object that answers `==` by itself has no value that could be compared elsewhere.

import decimal
import fractions

try:
    from _sha2 import sha256 as _sha256
except ImportError:
    from hashlib import sha256 as _sha256

_mro_of = type.__dict__["__mro__"].__get__
_namespace_of = type.__dict__["__dict__"].__get__
_module_of = type.__dict__["__module__"].__get__
_Decimal = decimal.Decimal
_Fraction = fractions.Fraction
_PLAIN_DEPTH = 100
# Longer texts are replaced by their hash: equal ones still have equal hashes.
_HASH_OVER = 1 << 16


class NotPlain(Exception):
    """The value is no plain data."""


def _sequence(tag, iterate):
    def tree(value, depth):
        return [tag, [_tree(item, depth + 1) for item in iterate(value)]]

    return tree


def _pairs(tag, items):
    def tree(value, depth):
        return [tag, [[_tree(key, depth + 1), _tree(item, depth + 1)] for key, item in items(value)]]

    return tree


def _leaf(tag, text):
    return lambda value, depth: [tag, text(value)]


def _whole_text(text):
    """The text, where it is one: half of a surrogate pair has no place in UTF-8."""
    if clean(text) != text:
        raise NotPlain
    return text


# Kind → tree. The first that fits is taken for subclasses.
_TREES = {
    type(None): _leaf("none", lambda value: ""),
    bool: _leaf("bool", lambda value: "1" if value else ""),
    int: _leaf("int", lambda value: "%x" % int.__int__(value)),
    float: _leaf("float", float.hex),
    complex: lambda value, depth: ["complex", [float.hex(value.real), float.hex(value.imag)]],
    str: _leaf("str", lambda value: _whole_text(str.__str__(value))),
    bytes: _leaf("bytes", bytes.hex),
    bytearray: _leaf("bytearray", bytearray.hex),
    tuple: _sequence("tuple", tuple.__iter__),
    list: _sequence("list", list.__iter__),
    set: _sequence("set", set.__iter__),
    frozenset: _sequence("frozenset", frozenset.__iter__),
    _deque: _sequence("deque", _deque.__iter__),
    _OrderedDict: _pairs("ordered", _ordered_items),
    _Counter: _pairs("counter", _dict_items),
    dict: _pairs("dict", _dict_items),
    range: lambda value, depth: ["range", ["%x" % value.start, "%x" % value.stop, "%x" % value.step]],
    _Decimal: _leaf("decimal", _Decimal.__str__),
    _Fraction: lambda value, depth: ["fraction", ["%x" % value.numerator, "%x" % value.denominator]],
}


def _tree(value, depth):
    if depth > _PLAIN_DEPTH:
        raise NotPlain
    kind = type(value)
    tree = _TREES.get(kind)
    if tree is None:
        tree = _inherited(kind)
        if tree is None:
            value = _number_of(value, kind)
            tree = _TREES[type(value)]
    return tree(value, depth)


def _inherited(kind):
    """How the built-in type is shown that `kind` takes its `==` from."""
    for base in _mro_of(kind):
        tree = _TREES.get(base)
        if tree is not None:
            return tree
        if "__eq__" in _namespace_of(base):
            return None
    return None


def _number_of(value, kind):
    """The Python number of a NumPy scalar."""
    module = _module_of(kind)
    if type(module) is str and module.partition(".")[0] == "numpy" and getattr(value, "shape", None) == ():
        number = value.item()
        if type(number) in (bool, int, float, complex):
            return number
    raise NotPlain


def tree_of(value):
    """The tree of a plain value; `NotPlain` where it is none."""
    try:
        return _tree(value, 0)
    except (NotPlain, _MEMORY_ERROR):
        raise
    except BaseException:
        raise NotPlain from None


def canonical(tree):
    """Equal texts for equal values, whatever their types: `1`, `1.0` and `True` are equal in Python."""
    text = _canonical(tree)
    if len(text) > _HASH_OVER:
        return "#" + _sha256(text.encode("ascii")).hexdigest()
    return text


def _ratio(numerator, denominator):
    return "i%x" % numerator if denominator == 1 else "q%x/%x" % (numerator, denominator)


def _canonical_float(value):
    if value != value:
        return "nan"
    if value in (_INFINITY, -_INFINITY):
        return "+inf" if value > 0 else "-inf"
    return _ratio(*value.as_integer_ratio())


_INFINITY = float("inf")


def _canonical(tree):
    tag, body = tree
    if tag == "str":
        return _quote(body)
    if tag == "int":
        return "i" + body
    if tag == "bool":
        return "i1" if body else "i0"
    if tag == "none":
        return "None"
    if tag == "float":
        return _canonical_float(float.fromhex(body))
    if tag in ("list", "tuple", "deque"):
        return tag + "[" + ",".join([_canonical(item) for item in body]) + "]"
    if tag in ("set", "frozenset"):
        return "set[" + ",".join(sorted([_canonical(item) for item in body])) + "]"
    if tag in ("dict", "ordered", "counter"):
        pairs = sorted([_canonical(key) + ":" + _canonical(item) for key, item in body])
        return "dict[" + ",".join(pairs) + "]"
    if tag in ("bytes", "bytearray"):
        return "b" + body
    if tag == "complex":
        real, imaginary = float.fromhex(body[0]), float.fromhex(body[1])
        if imaginary == 0:
            return _canonical_float(real)
        return "c" + _canonical_float(real) + "," + _canonical_float(imaginary)
    if tag == "fraction":
        return _ratio(int(body[0], 16), int(body[1], 16))
    if tag == "decimal":
        value = _Decimal(body)
        return _ratio(*value.as_integer_ratio()) if value.is_finite() else _canonical_float(float(value))
    if tag == "range":
        value = value_of(tree)
        return "range[%x,%x,%x]" % (len(value), value[0] if value else 0, value.step if len(value) > 1 else 0)
    raise NotPlain


def value_of(tree):
    """The value of a tree, whoever wrote it: plain data of exact types, or an exception."""
    tag, body = tree
    if tag in _ITEMS:
        return _ITEMS[tag]([value_of(item) for item in body])
    if tag in _MAPPINGS:
        return _MAPPINGS[tag]({value_of(key): value_of(item) for key, item in body})
    return _LEAVES[tag](body)


_ITEMS = {"list": list, "tuple": tuple, "deque": _deque, "set": set, "frozenset": frozenset}
_MAPPINGS = {"dict": dict, "ordered": _OrderedDict, "counter": _Counter}
_LEAVES = {
    "none": lambda body: None,
    "bool": bool,
    "int": lambda body: int(body, 16),
    "float": float.fromhex,
    "complex": lambda body: complex(float.fromhex(body[0]), float.fromhex(body[1])),
    "str": str,
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "range": lambda body: range(int(body[0], 16), int(body[1], 16), int(body[2], 16)),
    "decimal": _Decimal,
    "fraction": lambda body: _Fraction(int(body[0], 16), int(body[1], 16)),
}
