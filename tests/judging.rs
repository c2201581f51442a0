//! Tests are judged outside of the process that runs the program, wherever they can be; and Python's `==` is kept.

use std::sync::OnceLock;

use vigor::sandbox::{ExecReport, ExecRequest, Judge, Limits, Pool, PoolConfig};

fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| {
        let python = std::env::var_os("VIGOR_TEST_PYTHON").unwrap_or("python3".into()).into();
        let launcher = env!("CARGO_BIN_EXE_vigor").into();
        Pool::new(PoolConfig { python, launcher, workers: 2, ..PoolConfig::default() }).expect("python3")
    })
}

fn run(code: &str, tests: &[String]) -> ExecReport {
    let request = ExecRequest {
        code: code.to_owned(),
        tests: tests.iter().map(|test| test.as_str().into()).collect(),
        limits: Limits { wall_test_seconds: 3.0, wall_total_seconds: 60.0, ..Limits::default() },
        keep_going: true,
        ..ExecRequest::default()
    };
    pool().execute(&request).expect("a report")
}

/// Where the only test was judged, and its verdict as `kind` or `kind: message`.
fn judged(code: &str, test: &str) -> (Judge, String) {
    let report = run(code, &[test.to_owned()]);
    let record = report.tests[0].verdict.record();
    let text =
        if record.message.is_empty() { record.kind } else { format!("{}: {}", record.kind, record.message) };
    (report.tests[0].judge, text)
}

const F: &str = "def f(x):\n    return x * 2\ndef g(x):\n    return f(x)\n";

#[test]
fn the_usual_forms_are_judged_outside() {
    for (test, verdict) in [
        ("assert f(2) == 4", "passed"),
        ("assert 4 == f(2)", "passed"),
        ("assert f(2)==4, 'why'", "passed"),
        ("assert f(2) == 5, 'why'", "failed: why"),
        ("assert f('a') == 'b'", "failed: got 'aa', expected 'b'"),
        ("assert f(g(1)) == 4", "passed"),
        ("assert f(2)", "passed"),
        ("assert f(0)", "failed: got 0, expected a true value"),
        ("assert not f(2)", "failed: got 4, expected a false value"),
        ("assert (f(1.33) - 2.66) < 1e-6", "passed"),
        ("assert abs(f(1.33) - 2.5) < 1e-6", "failed: got 2.66 in abs(f(1.33) - 2.5) < 1e-06"),
        ("assert f(2) is True", "failed: got 4 in f(2) is True"),
        ("assert f(2) in (3, 4)", "passed"),
        ("assert f(2) is not None", "passed"),
        ("assert round(f(1.111), 2) == 2.22", "passed"),
        ("values = [3]\nassert f(values) == [3, 3]", "passed"),
        ("def twice(x):\n    return 2 * x\nassert f(2) == twice(2)", "passed"),
        ("assert 1 < f(2) < 4", "failed: got 4 in 1 < f(2) < 4"),
        ("assert sorted(f([3])) == [3, 3]", "passed"),
        ("import math\nassert math.isclose(f(0.1), 0.2)", "passed"),
        ("import math\nassert f(2) == math.sqrt(16)", "passed"),
        ("assert f(2) == 4\nassert f(3) == 6\nassert f(4) == 9", "failed: got 8, expected 9"),
        ("assert f(2) == 5\nassert f(None) == 6", "failed: got 4, expected 5"),
        (
            "assert f(2) == 4\nassert f(None) == 6",
            "exception: TypeError: unsupported operand type(s) for *: 'NoneType' and 'int' (line 2)",
        ),
        (
            "META = {}\ndef check(candidate):\n    '''Doc'''\n    assert True, 'x'\n    assert candidate(2) == 4\ncheck(f)",
            "passed",
        ),
        (
            "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(3) == 4\ncheck(f)",
            "failed: got 6, expected 4",
        ),
    ] {
        assert_eq!(judged(F, test), (Judge::Outside, verdict.to_owned()), "{test}");
    }
}

#[test]
fn what_cannot_be_cut_is_judged_inside() {
    for (test, verdict) in [
        ("x = f(2)\nassert x == 4", "passed"),
        ("assert f(2) == g(2)", "passed"),
        ("assert f(2) == 4 and f(3) == 6", "passed"),
        ("assert all(f(x) == 2 * x for x in range(3))", "passed"),
        ("assert f(2) == 4, f'{g(1)}'", "passed"),
        ("for x in range(3):\n    assert f(x) == x", "failed"),
        ("assert True", "passed"),
        ("def check(c):\n    y = 4\n    assert c(2) == y\ncheck(f)", "passed"),
        ("def helper(x):\n    return f(x)\nassert helper(2) == g(2)", "passed"),
        ("assert f(2) == float('nan')", "failed"),
        ("assert f(2) != 4", "failed"),
        ("assert (f(2) == 4) == True", "passed"),
        ("assert str(f(2)).startswith('4')", "passed"),
        ("assert round(f(2) - 4, 6) == 0", "passed"),
        ("assert f('\\ud800') == '\\ud800' * 2", "passed"),
        ("x = [3]\nassert f(x) == x + x", "passed"),
        ("x = [3]\nassert f(x) is not x", "passed"),
        ("cases = [(2, 4)]\nassert f(cases[0][0]) == cases[0][1]", "passed"),
        ("def ref(x):\n    return 2 * x\nassert f(ref(1)) == ref(2)", "passed"),
        ("expected = []\nexpected.append(4)\nassert f(2) == expected[0]", "passed"),
        ("import sys, io\nsys.stdin = io.StringIO('x')\nassert f(input()) == 'xx'", "passed"),
    ] {
        let (judge, said) = judged(F, test);
        assert_eq!(judge, Judge::Inside, "{test}");
        assert_eq!(said.split(':').next(), Some(verdict), "{test}: {said}");
    }
    // What is no test at all is known before a program runs.
    let (judge, said) = judged(F, "assert (");
    assert!(
        judge == Judge::Outside && said.starts_with("harness_error: the test does not compile"),
        "{said}"
    );
    // A program may define what a test calls by a built-in name.
    let (judge, said) = judged("def sum(a, b):\n    return a * b\n", "assert sum(10, 15) == 150");
    assert_eq!((judge, said.as_str()), (Judge::Inside, "passed"));
}

/// Every pair of these is equal, or not, as Python says.
#[test]
fn equality_is_pythons() {
    const VALUES: [&str; 81] = [
        "None",
        "True",
        "False",
        "0",
        "1",
        "-1",
        "1.0",
        "-0.0",
        "0.5",
        "1e300",
        "10**300",
        "10**16",
        "1e16",
        "1e16 + 2",
        "9007199254740993",
        "9007199254740992.0",
        "float('inf')",
        "-float('inf')",
        "float('nan')",
        "1j",
        "1 + 0j",
        "''",
        "'1'",
        "'None'",
        "'a\\u0301'",
        "'\\xe1'",
        "b''",
        "b'1'",
        "bytearray(b'1')",
        "[]",
        "()",
        "{}",
        "set()",
        "frozenset()",
        "[1, 2]",
        "[2, 1]",
        "[1.0, True + 1]",
        "(1, 2)",
        "[[1], [2]]",
        "[1, [2]]",
        "{1, 2}",
        "{2.0, True}",
        "frozenset({1, 2})",
        "{1: 2}",
        "{1.0: 2.0}",
        "{'a': [1], 'b': (2,)}",
        "{'b': (2,), 'a': [1]}",
        "{'a': [1], 'b': [2]}",
        "Counter('aab')",
        "Counter({'a': 2, 'b': 1})",
        "{'a': 2, 'b': 1}",
        "OrderedDict([('a', 2), ('b', 1)])",
        "OrderedDict([('b', 1), ('a', 2)])",
        "defaultdict(int, {'a': 2, 'b': 1})",
        "deque([1, 2])",
        "deque([1, 2], 5)",
        "range(3)",
        "range(0, 3, 1)",
        "range(0)",
        "range(5, 5)",
        "range(0, 5, 7)",
        "Fraction(1, 2)",
        "Fraction(1, 1)",
        "Decimal('0.5')",
        "Decimal('1.0')",
        "Decimal('NaN')",
        "Decimal('0.1')",
        "0.1",
        "Pair(1, 2)",
        "'x' * 70000",
        "'x' * 70001",
        "[None, [None]]",
        "['i1']",
        "'[1]'",
        "'a,b'",
        "['a', 'b']",
        "['a,b']",
        "Flag.ON",
        "Word.A",
        "Sub([1, 2])",
        "Text('1')",
    ];
    const IMPORTS: &str = "from collections import Counter, OrderedDict, defaultdict, deque\nfrom typing import NamedTuple\n\
        from fractions import Fraction\nfrom decimal import Decimal\nfrom enum import Enum, IntEnum\n\
        class Pair(NamedTuple):\n    a: int\n    b: int\nclass Flag(IntEnum):\n    ON = 1\nclass Word(str, Enum):\n    A = '1'\n\
        class Sub(list):\n    pass\nclass Text(str):\n    pass\n";
    let values = VALUES.map(|value| format!("lambda: {value}")).join(", ");
    let program = format!(
        "{IMPORTS}\nclass Own:\n    pass\nVALUES = [{values}]\ndef f(i):\n    return VALUES[i]()\n\
         def equal(i, other):\n    return VALUES[i]() == other\n"
    );
    let (mut pairs, mut tests) = (Vec::new(), Vec::new());
    let mut truths = Vec::new();
    for i in 0..VALUES.len() {
        for j in &VALUES[i..] {
            pairs.push((VALUES[i], *j));
            tests.push(format!("{IMPORTS}\nassert f({i}) == {j}"));
            truths.push(format!("assert equal({i}, {j}) is True"));
        }
    }
    let found: Vec<(bool, Judge)> = tests
        .chunks(200)
        .flat_map(|t| run(&program, t).tests)
        .map(|t| (t.verdict.passed(), t.judge))
        .collect();
    let truth: Vec<bool> =
        truths.chunks(200).flat_map(|t| run(&program, t).tests).map(|t| t.verdict.passed()).collect();
    assert_eq!((found.len(), truth.len()), (tests.len(), truths.len()));
    let mut equal = 0;
    for ((left, right), ((found, judge), truth)) in pairs.into_iter().zip(found.iter().zip(&truth)) {
        // Their `==` is not that of their content, or not even one with itself.
        let own = ["Counter(", "OrderedDict(", "nan", "NaN"].iter().any(|name| right.contains(name));
        assert_eq!(*judge, if own { Judge::Inside } else { Judge::Outside }, "{left} == {right}");
        assert_eq!(found, truth, "{left} == {right}");
        equal += usize::from(*truth);
    }
    // Each is equal to itself, but for what is not a number, and a good many to others.
    assert!(equal > VALUES.len() + 20, "{equal}");
}

#[test]
fn an_object_that_answers_for_itself_is_equal_to_nothing_else() {
    let always = "class V:\n    def __eq__(self, other):\n        return True\n    __ne__ = __lt__ = __eq__\n    def __bool__(self):\n        return True\n\
                  class I(int):\n    def __eq__(self, other):\n        return True\n    __hash__ = int.__hash__\n\
                  def f(x):\n    return V()\ndef g(x):\n    return I(3)\ndef h(x):\n    return [V()]\n";
    assert_eq!(judged(always, "assert f(2) == 4").1, "failed: got <V>, expected 4");
    assert_eq!(judged(always, "assert g(2) == 4").1, "failed: got <I>, expected 4");
    assert_eq!(judged(always, "assert h(2) == [4]").1, "failed: got [<V>], expected [4]");
    // An order of its own is judged where it is, and said to be.
    assert_eq!(judged(always, "assert f(2) < 4"), (Judge::Inside, "passed".to_owned()));
    let endless = "def f(x):\n    a = []\n    a.append(a)\n    return a\n";
    assert_eq!(judged(endless, "assert f(2) == 4").1.split(',').next(), Some("failed: got [[[[[…]]]]]"));
    let generator = "def f(x):\n    yield 1\n";
    assert_eq!(judged(generator, "assert f(2) == [1]").1, "failed: got <generator>, expected [1]");
    assert_eq!(judged(generator, "assert list(f(2)) == [1]").1, "passed");
    assert_eq!(judged(generator, "assert len(list(f(2))) < 2").1, "passed");
    assert_eq!(judged(generator, "assert f(2) is not None"), (Judge::Outside, "passed".to_owned()));
    assert_eq!(judged(generator, "assert 1 in f(2)"), (Judge::Inside, "passed".to_owned()));
    assert_eq!(judged(generator, "assert 2 in f(2)").1, "failed");
    assert_eq!(judged(generator, "assert f(2) is None").1, "failed: got <generator> in f(2) is None");
}

/// A program that takes over the harness of its own process gets nowhere without knowing the answer.
#[test]
fn a_program_that_finds_the_harness_forges_nothing() {
    let walk = "
import sys, gc
def reach():
    frame = sys._getframe()
    while frame:
        yield from frame.f_locals.values()
        yield from frame.f_globals.values()
        frame = frame.f_back
    yield from gc.get_objects()
";
    // Says that the test passed, in the harness's own words and with its own nonce.
    let says = format!(
        "{walk}
def f(x):
    import os
    for found in reach():
        if type(found).__name__ == 'Status':
            found.send({{'record': 'loaded'}})
            for record in ('test', 'program'):
                found.send({{'record': record, 'verdict': {{'verdict': 'passed'}}}})
            os._exit(0)
    return 0
"
    );
    let (judge, verdict) = judged(&says, "assert f(2) == 4");
    assert_eq!(judge, Judge::Outside);
    assert!(verdict.starts_with("forbidden"), "{verdict}");
    // Leaves at once, as a whole program would: nothing was asked yet, nothing is answered.
    let program = says.replace("def f(x):\n", "def run():\n") + "run()\n";
    assert!(judged(&program, "assert f(2) == 4").1.starts_with("forbidden"));
    // Tells what it finds in the test: its code, its constants, the values it compares with.
    let looks = format!(
        "{walk}
import types
def f(x):
    for found in reach():
        if isinstance(found, types.CodeType) and found.co_filename == '<test>':
            for constant in found.co_consts:
                if isinstance(constant, int) and constant > 1000:
                    return constant
        if isinstance(found, int) and found in (271828, 314159):
            return found
        if isinstance(found, str) and '271828' in found and 'reach' not in found:
            return 271828
    return 0
"
    );
    // The program above knows the numbers; what it must not know is which.
    let hidden = looks.replace("(271828, 314159)", "()").replace("'271828' in found", "False");
    assert_eq!(judged(&hidden, "assert f(2) == 161803").1, "failed: got 0, expected 161803");
    assert_eq!(judged(&looks, "assert f(2) == 271828").1, "failed: got 0, expected 271828");
    // Inside, no such promise is made: this is the known limit.
    let (judge, verdict) = judged(&says, "x = f(2)\nassert x == 4");
    assert_eq!(
        (judge, verdict.as_str()),
        (Judge::Inside, "passed"),
        "the documentation says that this is possible"
    );
}

/// A test whose expected values a solution gives: they are worked out where no program is, and the solution does not
/// enter the program's process.
#[test]
fn a_solution_gives_the_expected_values_outside() {
    let record = serde_json::json!({
        "task_id": "Plus/1",
        "prompt": "def f(x):\n    \"\"\"Anything.\"\"\"\n",
        "entry_point": "f",
        "canonical_solution": "    if x > 5:\n        return [x / 3, x / 7]\n    return f(6)[0] * x if x == 5 else str(x)\n",
        "base_input": [[1], [5], [7]],
        "plus_input": [],
        "atol": 0,
    });
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), record.to_string()).expect("it is written");
    let tasks = vigor::task::load("humanevalplus", file.path()).expect("it loads");
    let test = [tasks[0].held_out_tests[0].source.clone()];
    let right = "def f(x):\n    if x > 5:\n        return [x / 3 + DIFFERENCE, x / 7]\n    return 10.0 if x == 5 else str(x)\n";
    for (program, expected) in [
        (right.replace("DIFFERENCE", "0"), ("passed", "")),
        (right.replace("DIFFERENCE", "1e-7"), ("passed", "")),
        (
            right.replace("DIFFERENCE", "1e-4"),
            ("failed", "got [2.3334333333333337, 1.0] in a comparison with [2.3333333333333335, 1.0]"),
        ),
        (
            right.replace("[x / 3 + DIFFERENCE, x / 7]", "(x / 3, x / 7)"),
            ("failed", "got (2.3333333333333335, 1.0) in a comparison with [2.3333333333333335, 1.0]"),
        ),
        (right.replace("str(x)", "x"), ("failed", "got 1, expected '1'")),
        (
            "def f(x):\n    return vigor_reference(x)\n".to_owned(),
            ("exception", "NameError: name 'vigor_reference' is not defined (line 2)"),
        ),
        (
            "def f(x):\n    return vigor_near\n".to_owned(),
            ("exception", "NameError: name 'vigor_near' is not defined (line 2)"),
        ),
    ] {
        let report = run(&program, &test);
        let record = report.tests[0].verdict.record();
        assert_eq!((record.kind.as_str(), record.message.as_str()), expected, "{program}");
        assert_eq!(report.tests[0].judge, Judge::Outside);
    }
}
