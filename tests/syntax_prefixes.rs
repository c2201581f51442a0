//! Prefixes of real programs, the standard library's, true ones and broken ones: the oracle refuses nothing
//! that CPython would not refuse, and what it remembers changes none of its answers. What CPython is shown of them
//! gets the verdict of the whole.

mod python_child;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use python_child::{compile_errors, interpreter, python};
use vigor::sandbox::{Pool, PoolConfig};
use vigor::session::reviewer::{CPython, Reviewed, Reviewer};
use vigor::session::trace::{Gate, LineClass};
use vigor::syntax::{Head, Lexer, Outline, SyntaxOracle, complete};

const FILES: usize = 300;
const MOST_BYTES: usize = 40_000;

/// Files of the standard library; none where the interpreter comes with fewer than [`FILES`].
fn standard_library() -> &'static [String] {
    static TEXTS: OnceLock<Vec<String>> = OnceLock::new();
    TEXTS.get_or_init(|| {
        let script = include_str!("python_child/standard_library.py");
        let printed = python(script, &format!("[{FILES}, {MOST_BYTES}]"), 120);
        let texts: Vec<String> = serde_json::from_str(&printed).expect("the child prints JSON");
        if texts.len() < FILES {
            eprintln!("skipped: {} files of the standard library, {FILES} are needed", texts.len());
            return Vec::new();
        }
        texts
    })
}

/// Where the lines of a text end; the last one may have no newline.
fn line_ends(text: &str) -> Vec<usize> {
    let mut ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    if !text.ends_with('\n') {
        ends.push(text.len());
    }
    ends
}

/// What CPython says of each source, in the sandbox, some hundred in a round trip.
fn cpython(sources: &[String]) -> Vec<Gate> {
    let launcher = env!("CARGO_BIN_EXE_vigor").into();
    let config = PoolConfig { python: interpreter(), launcher, workers: 1, ..PoolConfig::default() };
    let pool = Pool::new(config).expect("python3 and the vigor binary");
    sources.chunks(250).flat_map(|batch| pool.classify(batch).expect("verdicts")).collect()
}

#[test]
fn no_line_prefix_of_a_standard_library_file_is_invalid() {
    let mut prefixes = 0;
    for text in standard_library() {
        let mut oracle = SyntaxOracle::new();
        for end in line_ends(text) {
            prefixes += 1;
            let class = oracle.line_class(&text[..end]);
            assert_ne!(class, LineClass::Invalid, "{}", &text[..end]);
        }
        assert_eq!(oracle.line_class(text), LineClass::Executable, "{text}");
    }
    println!("{} files, {prefixes} line prefixes", standard_library().len());
}

#[test]
fn cpython_refuses_no_line_prefix_of_a_standard_library_file() {
    let short = standard_library().iter().filter(|text| text.len() < 8_000);
    let prefixes: Vec<String> = short
        .take(40)
        .flat_map(|text| line_ends(text).into_iter().map(|end| text[..end].to_owned()))
        .collect();
    let refused =
        cpython(&prefixes).into_iter().zip(&prefixes).find(|(gate, _)| matches!(gate, Gate::Invalid { .. }));
    assert_eq!(refused, None);
    println!("{} line prefixes", prefixes.len());
}

#[test]
fn completions_of_standard_library_prefixes_compile() {
    let mut programs = Vec::new();
    for (number, text) in standard_library().iter().enumerate() {
        let mut oracle = SyntaxOracle::new();
        for end in line_ends(text).into_iter().skip(number % 19).step_by(19) {
            let completed = oracle.complete(&text[..end]);
            programs.push(completed.unwrap_or_else(|| panic!("no completion of {}", &text[..end])));
        }
    }
    let mut errors = compile_errors(&programs);
    // The one thing that is not mended.
    errors.retain(|(_, error)| !error.starts_with("no binding for nonlocal"));
    println!("{} completions, {} that CPython refuses", programs.len(), errors.len());
    let shown: Vec<_> = errors.iter().map(|(at, error)| (error, tail(&programs[*at]))).collect();
    assert!(errors.is_empty(), "{shown:#?}");
}

/// The last lines of a text.
fn tail(text: &str) -> &str {
    let start = text.char_indices().rev().nth(300).map_or(0, |(at, _)| at);
    &text[start..]
}

/// One change to a line.
#[derive(Debug, Clone)]
enum Mutation {
    DeleteToken(Index),
    InsertToken(Index, &'static str),
    ReplaceToken(Index, &'static str),
    RepeatToken(Index),
    DeleteChar(Index),
    InsertChar(Index, char),
    ReplaceBracket(Index, char),
    Indent(isize),
    Truncate(Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    const TOKENS: [&str; 48] = [
        "(", ")", "[", "]", "{", "}", ":", ",", "=", "==", ":=", "->", ".", "*", "**", "+", "-", "@", ";",
        "\\", "'", "\"", "'''", "f'", "#", "if ", "else", "elif x:", "for ", "in ", "not ", "lambda ",
        "return ", "yield ", "await ", "async ", "def ", "class ", "try:", "except", "with ", "as ",
        "import ", "global ", "None", "0x", "match ", "print ",
    ];
    let token = || prop::sample::select(&TOKENS[..]);
    let char_of = |chars: &str| prop::sample::select(chars.chars().collect::<Vec<char>>());
    prop_oneof![
        3 => any::<Index>().prop_map(Mutation::DeleteToken),
        3 => (any::<Index>(), token()).prop_map(|(at, token)| Mutation::InsertToken(at, token)),
        2 => (any::<Index>(), token()).prop_map(|(at, token)| Mutation::ReplaceToken(at, token)),
        1 => any::<Index>().prop_map(Mutation::RepeatToken),
        1 => any::<Index>().prop_map(Mutation::DeleteChar),
        1 => (any::<Index>(), char_of("()[]{}:,=.'\"\\#@!$?~a_0 \té")).prop_map(|(at, c)| Mutation::InsertChar(at, c)),
        2 => (any::<Index>(), char_of("()[]{}")).prop_map(|(at, c)| Mutation::ReplaceBracket(at, c)),
        2 => (-6..=8isize).prop_map(Mutation::Indent),
        1 => any::<Index>().prop_map(Mutation::Truncate),
    ]
}

/// A line as words, runs of spaces and other characters; at least one piece.
fn tokens(line: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let kind =
            |c: char| if c == '_' || c.is_alphanumeric() { Some('a') } else { (c == ' ').then_some(' ') };
        let len = match kind(first) {
            Some(of) => rest.find(|c| kind(c) != Some(of)).unwrap_or(rest.len()),
            None => first.len_utf8(),
        };
        let (token, after) = rest.split_at(len);
        tokens.push(token);
        rest = after;
    }
    if tokens.is_empty() { vec![""] } else { tokens }
}

fn mutate(line: &str, mutation: &Mutation) -> String {
    let mut tokens = tokens(line);
    let mut chars: Vec<char> = line.chars().collect();
    match mutation {
        Mutation::DeleteToken(at) => drop(tokens.remove(at.index(tokens.len()))),
        Mutation::InsertToken(at, token) => tokens.insert(at.index(tokens.len() + 1), token),
        Mutation::ReplaceToken(at, token) => *at.get_mut(tokens.as_mut_slice()) = token,
        Mutation::RepeatToken(at) => {
            let at = at.index(tokens.len());
            tokens.insert(at, tokens[at]);
        }
        Mutation::Indent(by) => {
            let body = line.trim_start_matches(' ');
            let margin = (line.len() - body.len()).saturating_add_signed(*by);
            return format!("{}{body}", " ".repeat(margin));
        }
        Mutation::DeleteChar(at) if !chars.is_empty() => drop(chars.remove(at.index(chars.len()))),
        Mutation::DeleteChar(_) => {}
        Mutation::InsertChar(at, c) => chars.insert(at.index(chars.len() + 1), *c),
        Mutation::ReplaceBracket(at, c) => {
            let mut brackets: Vec<&mut char> = chars.iter_mut().filter(|c| "()[]{}".contains(**c)).collect();
            match brackets.len() {
                0 => chars.push(*c),
                count => *brackets[at.index(count)] = *c,
            }
        }
        Mutation::Truncate(at) => chars.truncate(at.index(chars.len() + 1)),
    }
    let changed = tokens.concat();
    if changed == line { chars.into_iter().collect() } else { changed }
}

/// The top-level statements of a program, with their decorators, that have 4 to 80 lines.
fn statements(text: &str) -> Vec<&str> {
    let mut lexer = Lexer::new();
    lexer.feed(text);
    let mut decorated = false;
    let mut starts = Vec::new();
    for line in lexer.lines().iter().filter(|line| line.indent.columns == 0) {
        if !decorated && !line.head.continues() {
            starts.push(line.start);
        }
        decorated = line.head == Head::Decorator;
    }
    starts.push(text.len());
    let whole = starts.windows(2).map(|ends| &text[ends[0]..ends[1]]);
    whole.filter(|text| (4..=80).contains(&text.lines().count())).collect()
}

/// A beginning of a program, and lines after it, of which the first may have one change.
struct Beginning {
    program: String,
    continuation: String,
}

/// True line prefixes, each with what follows: one to three lines, the first of them with one change. Always the same.
fn mutated_beginnings(count: usize) -> Vec<Beginning> {
    let texts = standard_library().iter().filter(|text| !text.contains('\r'));
    let statements: Vec<&str> = texts.flat_map(|text| statements(text)).collect();
    if statements.is_empty() {
        return Vec::new();
    }
    let cases = prop::collection::vec((any::<Index>(), any::<Index>(), mutation(), 1..4usize), count)
        .new_tree(&mut TestRunner::deterministic())
        .expect("the strategy rejects nothing")
        .current();
    let mutated = cases.iter().map(|(statement, line, mutation, lines)| {
        let statement = *statement.get(&statements);
        let ends = line_ends(statement);
        let at = line.index(ends.len());
        let start = if at == 0 { 0 } else { ends[at - 1] };
        let line = statement[start..ends[at]].trim_end_matches('\n');
        let rest = &statement[ends[at]..ends[(at + lines - 1).min(ends.len() - 1)]];
        let continuation = format!("{}\n{rest}", mutate(line, mutation));
        Beginning { program: statement[..start].to_owned(), continuation }
    });
    mutated.collect()
}

/// True line prefixes with one change in their last line, always the same.
fn mutated_prefixes(count: usize) -> Vec<String> {
    let first_line = |text: &str| text[..line_ends(text)[0]].to_owned();
    let beginnings = mutated_beginnings(count).into_iter();
    beginnings.map(|case| case.program + &first_line(&case.continuation)).collect()
}

/// What CPython says of outlines is what it says of the programs, to the letter. Returns how many had outlines.
fn compare_outlines(beginnings: &[Beginning]) -> usize {
    let whole = |case: &Beginning| format!("{}{}", case.program, case.continuation);
    let programs: Vec<String> = beginnings.iter().map(|case| case.program.clone()).collect();
    let accepted = cpython(&programs);
    let (mut sources, mut outlined) = (Vec::new(), Vec::new());
    for (case, gate) in beginnings.iter().zip(accepted) {
        // The promise is about beginnings that CPython compiled.
        if let (Gate::Complete, Some(outline)) = (gate, Outline::of(&case.program))
            && let Some(short) = outline.with(&case.continuation)
        {
            sources.push(whole(case));
            outlined.push(short);
        }
    }
    for ((source, short), (whole, outline)) in
        sources.iter().zip(&outlined).zip(cpython(&sources).into_iter().zip(cpython(&outlined)))
    {
        assert_eq!(whole, outline, "{source}\n---\n{short}");
    }
    sources.len()
}

#[test]
fn cpython_says_the_same_of_outlines() {
    let beginnings = mutated_beginnings(10_000);
    let compared = compare_outlines(&beginnings);
    println!("{compared} of {} beginnings with a changed line have outlines", beginnings.len());
    assert!(compared * 2 >= beginnings.len(), "{compared}");
}

#[test]
fn cpython_says_the_same_of_outlines_of_whole_files() {
    let mut beginnings = Vec::new();
    for text in standard_library().iter().filter(|text| text.len() < 8_000).take(80) {
        let ends = line_ends(text);
        for (at, start) in [0].into_iter().chain(ends.iter().copied()).enumerate().step_by(3) {
            let end = ends.get(at + at % 3).or(ends.last()).copied().unwrap_or(0).max(start);
            let (program, continuation) = (text[..start].to_owned(), text[start..end].to_owned());
            beginnings.push(Beginning { program, continuation });
        }
    }
    let compared = compare_outlines(&beginnings);
    println!("{compared} of {} beginnings of files have outlines", beginnings.len());
    assert!(beginnings.is_empty() || compared * 3 >= beginnings.len(), "{compared}");
}

/// A program that grows line by line under the eyes of the reviewer: what that says of each line is what CPython says of
/// all that is there, also when a line before was wrong and nobody minded.
fn review_line_by_line(pool: &Arc<Pool>, text: &str) {
    let reviewer = CPython::new(pool.clone());
    let ends = line_ends(text);
    let whole: Vec<String> = ends.iter().map(|end| text[..*end].to_owned()).collect();
    let expected: Vec<Gate> =
        whole.chunks(250).flat_map(|batch| pool.classify(batch).expect("verdicts")).collect();
    let (mut reviewed, mut start) = (Reviewed::default(), 0);
    for (end, expected) in ends.into_iter().zip(expected) {
        let line = text[start..end].to_owned();
        let gates = reviewer.review(&mut reviewed, &text[..start], &[line]).expect("a verdict");
        assert_eq!(gates, [expected], "{}", &text[..end]);
        start = end;
    }
}

#[test]
fn the_reviewer_says_what_cpython_says_of_the_whole() {
    let launcher = env!("CARGO_BIN_EXE_vigor").into();
    let config = PoolConfig { python: interpreter(), launcher, workers: 1, ..PoolConfig::default() };
    let pool = Arc::new(Pool::new(config).expect("python3 and the vigor binary"));
    // Errors that only the compiler finds, where it gets to see them late or far away.
    for text in [
        "try:\n    return 1\nexcept E:\n    pass\nx = 1\ny = 2\n",
        "try:\n    def g(a, a):\n        pass\nfinally:\n    x = 1\ny = 2\n",
        "break\nif x:\n    y = 1\n    z = 2\n",
        "if x:\n    a\n\\\n    b\n    c\nd\n",
        "def f():\n    x = 1\n    y = 2\n    global x\n    z = 3\n",
        "x = 1\n'd'\nfrom __\u{ff46}uture__ import annotations\n",
        "async def f():\n    yield 1\n    x = 2\n    return 3\n",
        "match x:\n    case _:\n        y = 1\n    case 2:\n        y = 2\n",
        "x = (1,\n  2\n)\ny = [\nz\n]\nw = ''' a\n b\n'''\nv = 1 +\nu = 2\n",
        "@d\nclass A:\n    def f(self):\n        while 1:\n            break\n        else:\n            return\n    def g(): continue\nx\n",
    ] {
        review_line_by_line(&pool, text);
    }
    let statements = standard_library().iter().flat_map(|text| statements(text));
    for statement in statements.filter(|text| !text.contains('\r')).step_by(40) {
        review_line_by_line(&pool, statement);
    }
}

#[test]
fn cpython_agrees_on_ten_thousand_mutated_prefixes() {
    let prefixes = mutated_prefixes(10_000);
    let mut oracle = SyntaxOracle::new();
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (prefix, gate) in prefixes.iter().zip(cpython(&prefixes)) {
        let class = oracle.line_class(prefix);
        let verdict = match gate {
            Gate::Complete => "complete",
            Gate::Incomplete => "incomplete",
            Gate::Invalid { .. } => "invalid",
        };
        // No false rejection; and what can run is known to.
        assert!(class != LineClass::Invalid || verdict == "invalid", "{verdict}:\n{prefix}");
        assert!(class == LineClass::Executable || verdict != "complete", "{class:?}:\n{prefix}");
        // What waits for something is a fragment, but for a `try` without handler: its completion runs.
        if class == LineClass::Executable && verdict == "incomplete" {
            assert!(prefix.contains("try:"), "{prefix}");
        }
        let class = match class {
            LineClass::Executable => "executable",
            LineClass::Fragment => "fragment",
            LineClass::Invalid => "refused",
        };
        *counts.entry((verdict, class)).or_default() += 1;
    }
    println!("{counts:#?}");
    let count = |class| counts.get(&("invalid", class)).copied().unwrap_or(0);
    let (missed, refused) = (count("executable") + count("fragment"), count("refused"));
    println!("of what CPython refuses, {refused} are refused and {missed} are let through");
    assert!(missed * 100 <= 15 * (missed + refused), "the oracle lets too much through");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Grows a real program, goes back, tries other lines: a fresh oracle says the same.
    #[test]
    fn answers_do_not_depend_on_the_way(
        file in any::<Index>(),
        steps in prop::collection::vec((0usize..40, any::<bool>(), any::<Index>(), mutation()), 1..20),
    ) {
        let files = standard_library();
        prop_assume!(!files.is_empty());
        let text = file.get(files);
        let ends = line_ends(text);
        let mut oracle = SyntaxOracle::new();
        let mut at: usize = 0;
        for (distance, back, cut, mutation) in steps {
            at = if back { at.saturating_sub(distance) } else { at + distance % 8 }.min(ends.len() - 1);
            let start = if at == 0 { 0 } else { ends[at - 1] };
            let line = &text[start..ends[at]];
            let half = cut.index(line.chars().count() + 1);
            let half: String = line.chars().take(half).collect();
            for last in [line.to_owned(), format!("{}\n", mutate(line.trim_end(), &mutation)), half] {
                let prefix = format!("{}{last}", &text[..start]);
                prop_assert_eq!(oracle.line_class(&prefix), SyntaxOracle::new().line_class(&prefix), "{}", prefix);
                prop_assert_eq!(oracle.complete(&prefix), complete(&prefix), "{}", prefix);
            }
        }
    }
}
