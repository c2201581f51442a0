//! Prefixes of Python programs, whole and broken: what they are classed as, and what completes them.
//! CPython judges the completions, in one child a test.

mod python_child;

use std::time::{Duration, Instant};

use proptest::prelude::*;
use python_child::compile_errors;
use vigor::session::trace::LineClass;
use vigor::syntax::{
    Lexer, MAX_BRACKETS, MAX_INDENTS, MAX_SOURCE, SyntaxOracle, complete, defines, extract_program, in_string,
};

/// Every construct of the language, in programs that CPython accepts.
const PROGRAMS: [&str; 12] = [
    r#"#!/usr/bin/env python3
from __future__ import annotations
import os, sys as system
from typing import (List,
                    Dict as D,)


@staticmethod
# a comment between
@property
def plain(a, b: int = 1, /, c=2, *args: int, d, e=3, **kwargs) -> Dict[str, List[int]]:
    """A docstring with 'quotes', "quotes" and
    ''' other triples ''', \x41 and \N{BULLET}.
    """
    global counter, other
    counter = a if b else (c
                           if d
                           else e)
    return {"a": [1, 2.5, 1e-3, 0x_ff, 0o17, 0b1, 1_000, 3j], **kwargs}
"#,
    r#"class Base(object, metaclass=type):
    x: int
    y: "str" = 'a'; z = 1

    class Inner: pass

    def __init__(self, *a, **k):
        super().__init__(*a, key=1, **k)
        self.a = self.b = a[0]
        self.c[1:2, ::3] += 1
        del self.a, self.c[0]

    @classmethod
    async def go(cls):
        async with cls.lock as lock, cls.other:
            async for item in cls.items():
                await item
        return [x async for x in y if await x]
"#,
    r#"def handle(path):
    try:
        with open(path) as file, \
             open(path + ".b", "rb") as other:
            data = file.read()
    except (OSError, ValueError) as error:
        raise RuntimeError("bad") from error
    except Exception:
        pass
    else:
        return data
    finally:
        try:
            close()
        finally:
            done = True
"#,
    r#"def loops(n):
    for i, (a, *b) in enumerate([]):
        if a < i <= n and not b or i is not None and a not in b:
            continue
        elif a == 1: break
        else:
            pass
    else:
        n += 1
    while True:
        n -= 1; break
    while (m := n // 2) > 0: n = m
    if k := n:
        n = k
    if lambda: n:
        n = 0
    return lambda x, *y, k=lambda z: z + 1, **w: (x, y)
"#,
    r#"def matching(command):
    match command.split():
        case ["go", direction] | ["move", direction] if direction:
            return direction
        case {"x": 0, **rest}:
            return rest
        case Point(x=0, y=[1, *_]) as p:
            return p
        case -1 | 2.5 | "text" | None | a.b:
            match = case = 1
            match[0] = case
        case _:
            return None
    print(match, case)
"#,
    r#"import math
text = f"{math.pi:.2f} {text!r:>{width}} {'a' if x else 'b'} {{literal}} {x=}"
raw = rf'\d{n}\{{' + r"\'" + b"\x00\n".decode() + u'é' 'joined' "\u00e9"
long = f'''{
    math.pi
} and {"nested"} \N{BULLET}
'''
empty = "" + '' + """""" + ''''''
quotes = """ "a" ""b"" \""" """
"#,
    r#"squares = [x * y
           for x in range(10)
           if x % 2
           for y in (1, 2)]
table = {k: v for k, v in zip("ab", [1, 2])}
unique = {*squares, *[1]}
gen = sum(x for x in squares)
a, b = b, a = 1, 2
first, *rest = squares
total = (1 +
         2) * 3 \
    - 4 // 5 ** 6 @ m % 7 << 8 >> 9 & 10 | 11 ^ ~12
assert total, "message"
print("a", end="", *rest, **table)
"#,
    "def tabs():\n\tif x:\n\t\treturn 1\n\telse:\n\t\ty = [\n1,\n\t]\n\n\n# end\n\treturn y\n",
    r#"def outer():
    count = 0
    names = []

    def inner():
        nonlocal count
        global names_seen
        count += 1
        names_seen = yield count
        yield from inner()
    return inner


async def main(): return await outer()
if __name__ == '__main__':
    main()
"#,
    "if True:\n    try: x = 1\n    except E: y = 2\n    finally: z = 3\n    for a in b: c(); d()\n\n\nclass C: x = 1\n",
    "x = 1\r\nif x:\r\n    y = '''a\r\nb'''\r\n    z = [1,\r\n  2]\r\n",
    "def f(x: int, y: Callable[[int], str] = lambda v: str(v)) -> None:\n    x: Dict[str, int] = {}\n    \
     if (n := len(x)) > 1 and x[\"a\"][0].b(c)(d)[1:-1]:\n        return ~n, *x, not n\n    return\n",
];

fn line_ends(text: &str) -> Vec<usize> {
    text.match_indices('\n').map(|(at, _)| at + 1).collect()
}

fn char_ends(text: &str) -> Vec<usize> {
    text.char_indices().map(|(at, _)| at).chain([text.len()]).collect()
}

#[test]
fn every_prefix_of_a_program_completes_to_what_cpython_compiles() {
    let mut programs: Vec<String> = PROGRAMS.iter().map(|program| (*program).to_owned()).collect();
    let mut prefixes = vec![String::new(); programs.len()];
    for program in PROGRAMS {
        for end in line_ends(program).into_iter().chain(char_ends(program)) {
            let prefix = &program[..end];
            let completed = complete(prefix).unwrap_or_else(|| panic!("no completion of {prefix:?}"));
            prefixes.push(prefix.to_owned());
            programs.push(completed);
        }
    }
    let errors = compile_errors(&programs);
    let shown: Vec<_> = errors.iter().map(|(at, error)| (error, &prefixes[*at], &programs[*at])).collect();
    assert!(shown.is_empty(), "{} of {}: {:#?}", shown.len(), programs.len(), shown.first());
}

#[test]
fn no_prefix_of_a_program_is_invalid() {
    for program in PROGRAMS {
        let mut oracle = SyntaxOracle::new();
        for end in char_ends(program) {
            let prefix = &program[..end];
            assert_ne!(oracle.line_class(prefix), LineClass::Invalid, "{prefix:?}");
        }
        assert_eq!(oracle.line_class(program), LineClass::Executable, "{program:?}");
    }
}

#[test]
fn lines_are_classed_by_whether_they_can_run() {
    use LineClass::{Executable, Fragment, Invalid};
    let cases = [
        ("", Executable),
        ("# only a comment\n", Executable),
        ("x = 1\n", Executable),
        ("x = 1", Executable),
        ("x = 1 +", Fragment),
        ("x = 1 +\n", Invalid),
        ("for x in y:\n", Fragment),
        ("for x in y:  # why\n", Fragment),
        ("for x in y: z(x)\n", Executable),
        ("def f(a,\n", Fragment),
        ("def f(a,\n      b):\n", Fragment),
        ("def f(a,\n      b):\n    return a\n", Executable),
        ("@cached\n", Fragment),
        ("@cached\n@other\ndef f():\n", Fragment),
        ("x = '''a\n", Fragment),
        ("x = '''a\nb'''\n", Executable),
        ("x = 1 + \\\n", Fragment),
        ("try:\n    x = 1\n", Executable),
        ("try:\n    x = 1\nexcept E:\n", Fragment),
        ("match x:\n", Fragment),
        ("match x:\n    case 1:\n        pass\n", Executable),
        ("class A:\n    def f(self):\n        '''doc'''\n", Executable),
        ("x = lambda:\n", Invalid),
        ("if x:\n    # nothing yet\n", Fragment),
        // The line stands under the headers of its statement, however far up they are.
        ("if x:\n    y = 1\nelif z:\n    y = 2\nelse:\n    y = 3\n", Executable),
        ("for x in y:\n    if x:\n        break\nelse:\n", Fragment),
        ("x = 1\nelse:\n", Invalid),
        ("if x:\n    y = 1\nelse:\n    y = 2\nelif z:\n", Invalid),
        ("while x:\n    y = 1\nelif z:\n", Invalid),
        // A line in a bracket may stand anywhere.
        ("def f(x):\n    return g(x +\n(1), 2)\n", Executable),
        // CPython's order: first the tokens, then the indentation, then the compiler's rules.
        ("def f():\n'''open\n", Fragment),
        ("def f():\n'''open\n'''\n", Invalid),
        ("f(f'{a]'\n", Fragment),
        ("x = f'{a]'\n", Invalid),
        ("def f(a, a):\n", Fragment),
        ("def f(a, a): pass\n", Invalid),
        ("x = *y\n", Invalid),
        ("try:\n    x = *y\n", Executable),
    ];
    for (prefix, class) in cases {
        assert_eq!(SyntaxOracle::new().line_class(prefix), class, "{prefix:?}");
    }
}

#[test]
fn corrupted_lines_are_invalid() {
    let good = "def f(x):\n    y = [1, 2]\n    for i in y:\n        x += i\n";
    let bad = [
        "        x = (1, 2))\n",
        "        x = [1, 2)\n",
        "            x = 1\n",
        "      x = 1\n",
        "        x = 'open\n",
        "        x = = 1\n",
        "        if x\n",
        "        print 'hello'\n",
        "        return x y\n",
        "        x = 0777\n",
        "        f(a=1, 2)\n",
        "        import\n",
        "        x = 1 \\ 2\n",
        "    except E:\n",
        "        while True:\n        x = 1\n",
        "        try:\n            x = 1\n        y = 2\n",
        "        @cached\n        x = 1\n",
        "\t x = 1\n",
    ];
    for line in bad {
        let prefix = format!("{good}{line}");
        assert_eq!(SyntaxOracle::new().line_class(&prefix), LineClass::Invalid, "{line:?}");
        let completed = complete(&prefix).expect("the good lines are there");
        assert!(completed.starts_with("def f(x):\n    y = [1, 2]\n"), "{line:?} gave {completed:?}");
        assert_eq!(compile_errors(&[completed]), [], "{line:?}");
    }
}

#[test]
fn completions_change_as_little_as_they_can() {
    let cases = [
        ("", ""),
        ("# nothing\n", "# nothing\n"),
        ("x = 1\n", "x = 1\n"),
        ("def f(x):", "def f(x):\n    pass\n"),
        ("def f(x):\n    ", "def f(x):\n    pass\n"),
        ("def f(x,\n", "def f(x,\n):\n    pass\n"),
        ("class A:\n\tdef f(self):\n", "class A:\n\tdef f(self):\n\t    pass\n"),
        ("x = [1, (2", "x = [1, (2)]"),
        ("x = 'ab", "x = 'ab'"),
        ("x = 'ab\\", "x = 'ab'"),
        ("x = 'ab\\x4", "x = 'ab'"),
        ("x = '''ab''", "x = '''ab'''"),
        ("x = f'{a:>{w", "x = f'{a:>{w}}'"),
        ("def f():\n    '''doc", "def f():\n    '''doc'''"),
        ("try:\n    x = f(1\n", "try:\n    x = f(1\n)\nfinally:\n    pass\n"),
        ("try:\n    x()\nexcept E as", "try:\n    x()\nfinally:\n    pass\n"),
        ("match x:\n", "match x:\n    case _:\n        pass\n"),
        ("if x:\n    y = 1\nelse", "if x:\n    y = 1\n"),
        ("if x:\n    @cached\n    @other(", "if x:\n    pass\n"),
        ("x = 1\ny = x +", "x = 1\n"),
        ("x = 1\ny = (x +\n", "x = 1\n"),
        ("x = 1 + \\\n", "pass\n"),
        ("@", "pass\n"),
        ("if x:\r\n", "if x:\n    pass\n"),
        ("if x:\n    y = f(1 +\n(2))\n", "if x:\n    y = f(1 +\n(2))\n"),
    ];
    for (prefix, completed) in cases {
        assert_eq!(complete(prefix).as_deref(), Some(completed), "{prefix:?}");
    }
}

#[test]
fn what_is_too_large_or_too_deep_is_refused() {
    let deep = |n: usize| format!("x = {}{}\n", "(".repeat(n), ")".repeat(n));
    let blocks = |n: usize| (0..n).map(|i| format!("{}if x:\n", " ".repeat(i))).collect::<String>();
    let class = |text: &str| SyntaxOracle::new().line_class(text);
    assert_eq!(class(&deep(MAX_BRACKETS)), LineClass::Executable);
    assert_eq!(class(&deep(MAX_BRACKETS + 1)), LineClass::Invalid);
    assert_eq!(class(&deep(100_000)), LineClass::Invalid);
    assert_eq!(complete(&deep(100_000)).as_deref(), Some("pass\n"));
    assert_eq!(class(&blocks(MAX_INDENTS)), LineClass::Fragment);
    assert_eq!(class(&blocks(MAX_INDENTS + 1)), LineClass::Invalid);
    assert_eq!(class(&blocks(1000)), LineClass::Invalid);
    assert_eq!(class("x = '\0'\n"), LineClass::Invalid);
    assert_eq!(complete("x = '\0'\n"), None);
    let long = "x = 1\n".repeat(MAX_SOURCE / 6 + 1);
    assert_eq!(class(&long), LineClass::Invalid);
    assert_eq!(complete(&long), None);
}

#[test]
fn hard_texts_take_bounded_time() {
    let texts = [
        "a b ".repeat(16_000),
        "a b c =\n".repeat(8_000),
        format!("x = 1{}\n", "+1".repeat(32_000)),
        format!("x = {}1\n", "not ".repeat(16_000)),
        format!("x = {}1\n", "-".repeat(64_000)),
        "x = 1 if y else ".repeat(4_000),
        "lambda x: ".repeat(6_400),
        "f'{".repeat(20_000),
        "print(*".repeat(199),
        "else:\n".repeat(10_000),
        "try:\n x\n".repeat(8_000),
    ];
    for text in texts {
        let begun = Instant::now();
        SyntaxOracle::new().line_class(&text);
        complete(&text);
        let spent = begun.elapsed();
        assert!(spent < Duration::from_secs(20), "{spent:?} for {:?} …", &text[..20]);
    }
}

#[test]
fn strings_and_fields_are_told_apart() {
    for text in
        ["'a", "\"it's", "'''a'b''", "f'{a} b", "f'{a:>", "r'\\'", "b'\\", "f'{{", "x = f\"{a['b", "'''\n\n"]
    {
        assert!(in_string(text), "{text:?}");
    }
    for text in
        ["", "'a'", "# it's", "f'{a", "''", "\"\"\"a\"\"\"", "'a' # '", "f'{a}'", "r'\\''", "x = f'{a['b']"]
    {
        assert!(!in_string(text), "{text:?}");
    }
}

#[test]
fn definitions_are_found_at_the_top_level() {
    let source = "import a\n@cached\nasync def one(): pass\nclass Two: pass\nthree, [four, *five] = x\nsix: int = 1\n\
                  seven = eight = 2; nine = 3\nnot_me == 1\nten.eleven = 4\ntwelve['k'] = 5\nf(thirteen=1)\n\
                  def fourteen(a,\n             fifteen=2):\n    sixteen = 1\ntext = '''\ndef seventeen(): pass\n'''\n\
                  if x:\n    eighteen = 1\ndef last(";
    for name in
        ["one", "Two", "three", "four", "five", "six", "seven", "eight", "nine", "fourteen", "text", "last"]
    {
        assert!(defines(source, name), "{name}");
    }
    for name in [
        "a",
        "not_me",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "las",
        "",
    ] {
        assert!(!defines(source, name), "{name}");
    }
}

#[test]
fn programs_are_taken_out_of_fences() {
    let cases = [
        ("x = 1\n", "x = 1\n"),
        ("Text.\n```python\nx = 1\n```\nMore.\n```python\ny = 2\n```\n", "y = 2\n"),
        ("```py\nx = 1\n```\n```\noutput\n```\n", "x = 1\n"),
        ("```\nx = 1\n```\n", "x = 1\n"),
        ("```bash\nls\n```\n", "```bash\nls\n```\n"),
        ("```python\nx = 1\n", "x = 1\n"),
        ("x = 1\n```\n", "x = 1\n"),
        ("x = 1\n```", "x = 1\n"),
    ];
    for (text, program) in cases {
        assert_eq!(extract_program(text), program, "{text:?}");
    }
}

/// Pieces of Python in any order, and any characters.
fn garbage() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => prop::sample::select(vec![
            "(", ")", "[", "]", "{", "}", ":", ",", "=", "==", ":=", "\n", "\n    ", "\n\t", "\n  ", " ", "\\", "\\\n",
            "'", "\"", "'''", "\"\"\"", "f'", "rb'", "{{", "}}", "\\N{", "\\x4", "#", "@", ";", ".", "*", "**", "->",
            "if ", "else:", "try:", "except", "finally:", "def f(", "class A", "for ", " in ", "lambda", "async ",
            "await ", "yield", "match ", "case ", "return", "global x", "not ", "x", "y1", "0x", "1e", "1_0", "\r\n",
            "\r", "\u{feff}", "é", "\x0c", "from __future__ import ", "import ", "del ", "print ",
        ]).prop_map(str::to_owned),
        1 => ".{0,6}",
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_is_survived(text in garbage()) {
        let begun = Instant::now();
        let mut oracle = SyntaxOracle::new();
        for end in char_ends(&text).into_iter().step_by(7) {
            oracle.line_class(&text[..end]);
        }
        let completed = complete(&text);
        prop_assert_eq!(&completed, &complete(&text));
        prop_assert_eq!(&completed, &oracle.complete(&text), "the answer depends on what was asked before");
        if let Some(completed) = completed {
            prop_assert_eq!(complete(&completed), Some(completed), "a completion needs no completion");
        }
        defines(&text, "f");
        extract_program(&text);
        prop_assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn classes_do_not_depend_on_what_was_asked_before(texts in prop::collection::vec(garbage(), 1..6)) {
        let mut oracle = SyntaxOracle::new();
        for text in &texts {
            for prefix in [text.clone(), format!("x = 1\n{text}"), format!("{text}\nx = 1\n")] {
                prop_assert_eq!(oracle.line_class(&prefix), SyntaxOracle::new().line_class(&prefix), "{:?}", prefix);
            }
        }
    }

    #[test]
    fn text_may_be_fed_in_any_pieces(text in garbage(), cut in any::<prop::sample::Index>()) {
        let ends = char_ends(&text);
        let cut = ends[cut.index(ends.len())];
        let (mut whole, mut pieces) = (Lexer::new(), Lexer::new());
        whole.feed(&text);
        pieces.feed(&text[..cut]);
        pieces.feed(&text[cut..]);
        prop_assert_eq!(whole.lines(), pieces.lines());
        prop_assert_eq!(whole.error(), pieces.error());
        prop_assert_eq!((whole.in_string(), whole.depth()), (pieces.in_string(), pieces.depth()));
    }

    #[test]
    fn a_valid_prefix_with_a_stray_bracket_is_invalid(
        program in prop::sample::select(PROGRAMS.to_vec()),
        line in any::<prop::sample::Index>(),
    ) {
        let ends = line_ends(program);
        let end = ends[line.index(ends.len())];
        let prefix = &program[..end];
        // After a whole statement; inside brackets, strings and comments it may be right.
        if SyntaxOracle::new().line_class(prefix) == LineClass::Executable {
            let broken = format!("{prefix})\n");
            prop_assert_eq!(SyntaxOracle::new().line_class(&broken), LineClass::Invalid, "{:?}", broken);
        }
    }
}
