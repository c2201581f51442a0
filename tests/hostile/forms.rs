//! Sources that are hostile by their form: to the compiler, to whoever counts lines, to encoders.

/// A source, a test, and the kinds of verdicts that are right.
pub struct Form {
    pub name: &'static str,
    pub code: String,
    pub test: String,
    pub expected: &'static str,
}

const SQUARE: &str = "def f(x):\n    return x * x\n";

/// All of them.
pub fn forms() -> Vec<Form> {
    let form =
        |name, expected, code: String| Form { name, code, test: "assert f(2) == 4".to_owned(), expected };
    let before = |text: &str| format!("{text}{SQUARE}");
    let refused = "syntax_error | memory | killed";
    let mut forms = vec![
        form("empty", "exception NameError", String::new()),
        form("only a comment", "exception NameError", "# nothing".to_owned()),
        form("NUL", "syntax_error", before("x = '\0'\n")),
        form("NUL in a comment", "syntax_error", before("# \0\n")),
        form("byte order mark", "syntax_error | passed", before("\u{feff}")),
        form("no newline at the end", "passed", SQUARE.trim_end().to_owned()),
        form("backslash at the end", "syntax_error", before("x = 1\n") + "\\"),
        form("carriage returns", "passed", SQUARE.replace('\n', "\r")),
        form("carriage returns and newlines", "passed", SQUARE.replace('\n', "\r\n")),
        form("form feeds", "passed", before("\x0c\n\x0c")),
        form("separators of Unicode", "passed", before("x = '\u{2028}\u{2029}\u{85}'\n")),
        form("direction of text", "passed", before("# \u{202e}\u{2066} nruter\n")),
        form("coding cookie", "passed", before("# -*- coding: utf-7 -*-\n")),
        form("coding cookie of nothing", "passed", before("# coding: vigor\n")),
        form(
            "letters that are the same",
            "passed",
            SQUARE.replace("f(", "\u{fb00}(").replace("\u{fb00}", "\u{1d41f}"),
        ),
        form("tabs and spaces", "syntax_error", "def f(x):\n\tif x:\n        return x * x\n".to_owned()),
        form("open string", "syntax_error", before("x = '''\n")),
        form("open bracket", "syntax_error", before("x = (\n")),
        form("brackets", refused, before(&format!("x = {}\n", "(".repeat(100_000)))),
        form(
            "nested brackets",
            refused,
            before(&format!("x = {}{}\n", "[".repeat(10_000), "]".repeat(10_000))),
        ),
        form(
            "nested calls",
            refused,
            before(&format!("x = {}{}\n", "f(".repeat(10_000), ")".repeat(10_000))),
        ),
        form(
            "nested minus",
            "syntax_error | memory | killed | exception RecursionError",
            before(&format!("x = {}1\n", "-".repeat(100_000))),
        ),
        form(
            "nested not",
            "syntax_error | memory | killed | exception RecursionError",
            before(&format!("x = {}1\n", "not ".repeat(100_000))),
        ),
        form("nested lambda", refused, before(&format!("x = {}1\n", "lambda: ".repeat(50_000)))),
        form("nested attributes", refused, before(&format!("x = lambda: a{}\n", ".a".repeat(100_000)))),
        form("nested conditions", refused, before(&format!("x = {}1\n", "1 if 1 else ".repeat(50_000)))),
        form(
            "nested comprehensions",
            "syntax_error | memory | killed | exception NameError",
            before(&format!("x = {}0{}\n", "[".repeat(150), " for y in x]".repeat(150))),
        ),
        form("deep indentation", "syntax_error", {
            let lines = (0..150).map(|depth| format!("{}if 1:\n", " ".repeat(depth)));
            before(&(lines.collect::<String>() + &" ".repeat(150) + "x = 1\n"))
        }),
        form("statically nested blocks", "syntax_error", {
            let lines = (0..30).map(|depth| format!("{}while 1:\n", " ".repeat(depth)));
            before(&(lines.collect::<String>() + &" ".repeat(30) + "break\n"))
        }),
        form(
            "long sum",
            "passed | syntax_error | memory | killed",
            before(&format!("x = 1{}\n", "+1".repeat(50_000))),
        ),
        form(
            "long sum of strings",
            "passed | syntax_error | memory | killed",
            before(&format!("x = ''{}\n", "+'a'".repeat(20_000))),
        ),
        form("long chain of elif", refused, {
            let arms = (0..20_000).map(|arm| format!("elif x == {arm}: pass\n"));
            before(&format!("x = 1\nif x == -1: pass\n{}", arms.collect::<String>()))
        }),
        form("long line", "passed", before(&format!("x = {:?}\n", "a".repeat(900_000)))),
        form("long name", "passed", before(&format!("{} = 1\n", "a".repeat(500_000)))),
        form("many lines", "passed", before(&"x = 1\n".repeat(50_000))),
        form(
            "many constants",
            "passed",
            before(&format!("x = [{}]\n", (0..50_000).map(|n| format!("{n}, ")).collect::<String>())),
        ),
        form("many arguments", "passed | syntax_error", {
            let names: String = (0..3000).map(|n| format!("a{n}=0, ")).collect();
            before(&format!("def g({names}): pass\n"))
        }),
        form(
            "many decorators",
            "passed | syntax_error | exception | killed",
            before(&format!("{}def g(): pass\n", "@(lambda g: g)\n".repeat(2000))),
        ),
        form("large number", "passed | syntax_error", before(&format!("x = {}\n", "9".repeat(50_000)))),
        form("large exponent", "passed", before("x = 1e999999999\n")),
        form(
            "folded constants",
            "passed | memory | timeout",
            before("x = ((((1 << 62) ** 60) ** 60) and 1)\ny = 'a' * 4096 * 4096\n"),
        ),
        form(
            "large constant of bytes",
            "passed | memory",
            before("x = lambda: (b'a' * 4096 * 4096 * 4096)\n"),
        ),
        form("global after use", "syntax_error", before("def g():\n    x = 1\n    global x\n")),
        form("return outside", "syntax_error", before("return 1\n")),
        form("await outside", "syntax_error", before("await x\n")),
        form("future that is none", "syntax_error", before("from __future__ import braces\n")),
        form("future of annotations", "passed", before("from __future__ import annotations\n")),
        form("Python 2", "syntax_error", before("print 'x'\n")),
        form("invalid escape", "passed", before("x = '\\d'\n")),
        form("escape of a surrogate", "passed", before("x = '\\ud800'\nprint(x)\n")),
        form("escape of nothing", "syntax_error", before("x = '\\N{NO SUCH NAME}'\n")),
        form("assertions that warn", "passed", before("assert (1, 'x')\nif 1 is 1: pass\n")),
        form("f-strings in f-strings", "passed | syntax_error", before("x = f'{f\"{f'{1}'}\"}'\n")),
        form("deep format", refused, before(&format!("x = f'{}{}'\n", "{1:".repeat(1000), "}".repeat(1000)))),
        form("emoji as a name", "syntax_error", before("\u{1f40d} = 1\n")),
        form("private use", "syntax_error", before("\u{e000} = 1\n")),
        form("zero width", "syntax_error", before("x\u{200b} = 1\n")),
        form("debug", "syntax_error", before("__debug__ = 0\n")),
    ];
    for (name, wanted, test) in [
        ("a test that is not Python", "harness_error", "assert f(2) =="),
        ("a test with a NUL", "harness_error", "assert f(2) == '\0'"),
        (
            "a test that is nested too deep",
            "harness_error | killed | memory | forbidden",
            &"(".repeat(50_000)[..],
        ),
        ("a test that says nothing", "passed", ""),
        ("a test in brackets", "passed", "(assert_ := f(2) == 4)"),
        ("a test of another kind", "passed", "assert f(2) > 3, 'too small'"),
        ("a test with a long line", "passed", &format!("assert f(2) == {}4", "0 + ".repeat(500))[..]),
    ] {
        forms.push(Form { name, code: SQUARE.to_owned(), test: test.to_owned(), expected: wanted });
    }
    forms
}
