# How a test is judged without trusting the process that runs the program: the child gets the calls, and what they
# should give stays here. This file runs in children that never load a program.

import builtins

HOLE = "_vigor_value"
_BUILTIN_NAMES = frozenset(vars(builtins))
# Where one of these is around a call, the call may not be made at all, or more than once.
_CONDITIONAL = (ast.BoolOp, ast.IfExp, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.NamedExpr)

_CONVERSIONS = frozenset(("list", "tuple", "set", "sorted", "dict", "len", "next", "str"))


class Inside(Exception):
    """The test can only be judged where the program is."""


def plan(source):
    """What to ask the child for, and what to compare its answers with."""
    try:
        compile_test(source)
    except (_SyntaxError, ValueError, OverflowError, RecursionError) as error:
        return {"plan": "broken", "message": "the test does not compile: " + exception_message(error, MESSAGE_LIMIT)}
    try:
        return _plan(ast.parse(source).body)
    except BaseException:
        # Whatever it is, it is the test as it stands that counts.
        return {"plan": "inside"}


def _plan(body):
    prelude, asserts = _parts(body)
    prelude = [statement for statement in prelude if not _says_nothing(statement)]
    definitions = _definitions(prelude)
    space = {"__name__": "solution"}
    prelude_code = ast.unparse(ast.Module(prelude, []))
    _exec(compile_program(prelude_code, TEST), space)
    known = _BUILTIN_NAMES | frozenset(space)
    if _unknown(ast.Module(prelude, []), known):
        raise Inside
    asked, judged, asks = set(), set(), []
    for node in asserts:
        expression, other, check = _ask(node, known, space)
        asked |= _names(expression)
        judged |= _names(other)
        asks.append({"expression": ast.unparse(expression), "message": _message(node.msg), "check": check})
    asked, judged = _closed(asked, definitions), _closed(judged, definitions)
    if asked & judged & set(definitions):
        # The program would be given what it should find out, or could change what it is compared with.
        raise Inside
    return {
        "plan": "outside",
        "prelude": ast.unparse(ast.Module([one for one in prelude if not (_defined(one) or set()) & judged], [])),
        "whole_prelude": prelude_code,
        "asks": asks,
    }


def _definitions(prelude):
    """The names that the statements before the assertions define, and the names that each of them needs."""
    found = {}
    for statement in prelude:
        defined = _defined(statement)
        if defined is None:
            continue
        for name in defined:
            found[name] = found.get(name, set()) | _names(statement)
    return found


def _defined(statement):
    """The names that a definition defines; `None` for an import. A statement that does more must run where the program
    is, and before it is asked."""
    if type(statement) in (ast.Import, ast.ImportFrom):
        return None
    if type(statement) in (ast.FunctionDef, ast.ClassDef) and not statement.decorator_list:
        return {statement.name}
    if type(statement) is ast.Assign and all(type(target) is ast.Name for target in statement.targets):
        if not any(type(node) in (ast.Call, ast.Await, ast.NamedExpr) for node in ast.walk(statement.value)):
            return {target.id for target in statement.targets}
    raise Inside


def _names(tree):
    return {node.id for node in ast.walk(tree) if type(node) is ast.Name}


def _closed(names, definitions):
    """These names, and all that their definitions need."""
    waiting = list(names)
    while waiting:
        new = definitions.get(waiting.pop(), set()) - names
        names = names | new
        waiting.extend(new)
    return names


def _parts(body):
    """The statements of a test before its assertions, and the assertions: its last statements, or the body of the
    function `check(candidate)` that its last statement calls with the program's function."""
    first = len(body)
    while first and type(body[first - 1]) is ast.Assert:
        first -= 1
    if first < len(body):
        return body[:first], _telling(body[first:])
    call = body[-1].value if body and type(body[-1]) is ast.Expr else None
    check = body[-2] if len(body) > 1 else None
    if not (
        type(check) is ast.FunctionDef
        and not check.decorator_list
        and type(call) is ast.Call
        and type(call.func) is ast.Name
        and call.func.id == check.name
        and len(call.args) == len(check.args.args) == 1
        and type(call.args[0]) is ast.Name
        and not (call.keywords or check.args.posonlyargs or check.args.kwonlyargs)
    ):
        raise Inside
    asserts = _telling(check.body)
    parameter, function = check.args.args[0].arg, call.args[0].id
    for node in asserts:
        for name in ast.walk(node):
            if type(name) is ast.Name and name.id == parameter:
                name.id = function
    return body[:-2], asserts


def _telling(body):
    """The assertions among `body`, without those that hold for any program."""
    asserts = [node for node in body if not _says_nothing(node)]
    if not asserts or any(type(node) is not ast.Assert for node in asserts):
        raise Inside
    return asserts


def _says_nothing(node):
    if type(node) is ast.Assert:
        return type(node.test) is ast.Constant and bool(node.test.value)
    return type(node) is ast.Pass or type(node) is ast.Expr and type(node.value) is ast.Constant


def _unknown(tree, known):
    """Whether `tree` uses a name that only the program can give."""
    nodes = list(ast.walk(tree))
    bound = {node.id for node in nodes if type(node) is ast.Name and type(node.ctx) is not ast.Load}
    bound |= {node.arg for node in nodes if type(node) is ast.arg}
    return any(
        type(node) is ast.Name and type(node.ctx) is ast.Load and node.id not in known and node.id not in bound
        for node in nodes
    )


def _ask(node, known, space):
    """The expression that only the program can compute, what its value is held against, and how."""
    test = node.test
    if type(test) is ast.Compare and len(test.ops) == 1 and type(test.ops[0]) is ast.Eq:
        sides = [test.left, test.comparators[0]]
        asked = [side for side in sides if _unknown(side, known)]
        if len(asked) != 1 or not _is_programs(_converted(asked[0]), known):
            raise Inside
        other = [side for side in sides if side is not asked[0]][0]
        expected, value = _expected(other, space)
        if type(value) is bool and not _is_simple(_converted(asked[0])):
            raise Inside
        return asked[0], other, expected
    if _is_near(test):
        return _near(test, known, space)
    condition, truth = test, True
    if type(test) is ast.UnaryOp and type(test.op) is ast.Not:
        condition, truth = test.operand, False
    if _is_programs(condition, known):
        if not _is_simple(condition):
            raise Inside
        return condition, ast.Constant(truth), {"check": "truth", "value": truth}
    if not (_is_ordering(test) or _is_identity(test) or _is_tolerance(test)):
        raise Inside
    finder = _Holes(known)
    judged = finder.visit(_copy(test))
    if len(finder.holes) != 1:
        raise Inside
    # What is calculated with is a number, and numbers are plain; an iterator, or an object with an order, is neither.
    numeric = _is_tolerance(test) or any(type(part) is ast.BinOp for part in ast.walk(judged))
    return finder.holes[0], judged, {
        "check": "holds",
        "expression": ast.unparse(judged),
        "shown": clean(ast.unparse(test)[:MESSAGE_LIMIT]),
        "plain": numeric or _is_identity(test),
    }


def _is_near(node):
    """`vigor_near(CALL, VALUE, NUMBER)`, a function of the test's own that says whether both are the same, or nearly."""
    return type(node) is ast.Call and getattr(node.func, "id", None) == "vigor_near" and len(node.args) == 3


def _near(test, known, space):
    """What is compared with is worked out now, not again with every program."""
    asked, other, tolerance = test.args
    if not _is_programs(asked, known) or not _is_simple(asked) or _unknown(other, known):
        raise Inside
    judged = ast.Call(test.func, [ast.Name(HOLE, ast.Load()), other, tolerance], [])
    expected, value = _expected(other, space)
    exact = type(tolerance) is ast.Constant and tolerance.value == 0
    if exact and not _has(tree_of(value), ("float", "complex")):
        return asked, judged, expected
    shown = show(value, MESSAGE_LIMIT // 2)
    if _is_literal(tree_of(value)):
        judged.args[1] = ast.parse(repr(value), mode="eval").body
    return asked, ast.Tuple([judged, other], ast.Load()), {
        "check": "holds",
        "expression": ast.unparse(judged),
        "shown": "a comparison with " + shown,
        "plain": True,
    }


def _is_literal(tree):
    """Whether the text of a value is an expression that gives it."""
    tag, body = tree
    if tag in ("list", "tuple"):
        return all(_is_literal(part) for part in body)
    if tag == "float":
        return "n" not in body
    return tag in ("none", "bool", "int", "str")


def _is_ordering(node):
    return type(node) is ast.Compare and all(type(op) in (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In) for op in node.ops)


def _is_identity(node):
    """`… is None`, and the like."""
    return (
        type(node) is ast.Compare
        and len(node.ops) == 1
        and type(node.ops[0]) in (ast.Is, ast.IsNot)
        and type(node.comparators[0]) is ast.Constant
        and node.comparators[0].value in (None, True, False)
        and type(node.comparators[0].value) in (type(None), bool)
    )


def _is_tolerance(node):
    """`isclose(…)`, from whichever module."""
    function = node.func if type(node) is ast.Call else None
    name = function.attr if type(function) is ast.Attribute else getattr(function, "id", None)
    return name in ("isclose", "allclose")


def _is_simple(node):
    """Whether nothing is asked of the value of a call: `f(2).startswith("a")` would be answered by the program."""
    if type(node) is ast.Call:
        node = node.func
    return not any(type(part) is ast.Call for part in ast.walk(node))


def _converted(node):
    """What a conversion is applied to: an iterator is no plain data, and `list(f(x))` is asked for as a whole."""
    if type(node) is ast.Call and type(node.func) is ast.Name and not node.keywords:
        if node.func.id in _CONVERSIONS and len(node.args) == 1:
            return node.args[0]
        if node.func.id == "round" and len(node.args) == 2 and type(node.args[1]) is ast.Constant:
            return node.args[0]
    return node


def _is_programs(node, known):
    """Whether `node` is a name that the program gives, or something that is called, or taken, of one."""
    while type(node) in (ast.Call, ast.Attribute, ast.Subscript):
        node = node.func if type(node) is ast.Call else node.value
    return type(node) is ast.Name and type(node.ctx) is ast.Load and node.id not in known


def _copy(node):
    return ast.parse(ast.unparse(node), mode="eval").body


def _message(node):
    if node is None:
        return None
    if type(node) is ast.Constant and type(node.value) is str:
        return exception_message(_AssertionError(node.value), MESSAGE_LIMIT)
    raise Inside


def _expected(node, space):
    """What a value must be equal to, where equal texts say that values are equal; and the value."""
    code = _compile(ast.fix_missing_locations(ast.Expression(node)), TEST, "eval", 0, True)
    value = _eval(code, dict(space))
    try:
        tree = tree_of(value)
    except NotPlain:
        raise Inside from None
    if _has(tree, ("ordered", "counter")) or _has_nan(tree):
        raise Inside
    return {"check": "equal", "value": canonical(tree), "shown": show(value, MESSAGE_LIMIT // 2)}, value


def _has(tree, tags):
    if type(tree) is not list:
        return False
    return tree[:1] in ([tag] for tag in tags) or any(_has(part, tags) for part in tree)


def _has_nan(tree):
    if type(tree) is not list:
        return tree in ("nan", "NaN", "-NaN", "sNaN")
    return any(_has_nan(part) for part in tree if tree[:1] != ["str"])


class _Holes(ast.NodeTransformer):
    """Replaces what only the program can compute by a name, and keeps it."""

    def __init__(self, known):
        self.known = known
        self.holes = []

    def visit(self, node):
        if _is_programs(_converted(node), self.known):
            self.holes.append(node)
            return ast.copy_location(ast.Name(HOLE, ast.Load()), node)
        if type(node) in _CONDITIONAL and _unknown(node, self.known):
            raise Inside
        return self.generic_visit(node)


def judge(item):
    """Whether an assertion holds for the value that a child says a call had; else the exception that it ends in."""
    try:
        space = {"__name__": "solution"}
        _exec(compile_program(item["prelude"], TEST), space)
        # What is no plain data is something else than whatever it is compared with.
        space[HOLE] = object() if item["value"] is None else value_of(parse_json(item["value"]))
        return {"holds": True if _eval(_compile(item["expression"], TEST, "eval", 0, True), space) else False}
    except BaseException as error:
        return {"holds": False, "error": describe(error, str)}
