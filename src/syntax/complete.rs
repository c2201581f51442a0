//! The shortest completion of a prefix that runs.

use std::borrow::Cow;

use super::MAX_SOURCE;
use super::blocks::Blocks;
use super::excerpt::Excerpt;
use super::grammar::{Grammar, Opinion, Rules};
use super::line::Head;
use super::oracle::SyntaxOracle;
use super::scan::Scan;

/// Most statements that are dropped from the end of a prefix.
const MAX_DROPS: usize = 64;

/// Most bytes that are parsed for one completion of a text of `bytes` bytes. A long text gets few attempts, so
/// that the time is bounded for any text.
fn parse_budget(bytes: usize) -> usize {
    512 * 1024 + 4 * bytes
}

/// A completion has to be what CPython compiles.
const RULES: Rules = Rules::OfParserAndCompiler;

/// Makes `prefix` a program that runs, changing as little as it can. In this order:
///
/// 1. as it is, an open header getting `pass` and an open `try` getting `finally: pass`;
/// 2. with open strings and brackets closed, and the colon of a header so closed;
/// 3. without its last statement, and so on backwards.
///
/// An unfinished word at the end counts as it stands (`retur` is a name). `\r\n` and `\r` become `\n`, as in
/// CPython; otherwise a text that needs nothing comes back as it is. The answer is a pure function of the
/// text. What comes back is Python as far as the grammar knows: CPython has the last word, above all when
/// the prefix was no beginning of a Python program.
///
/// One thing of a true prefix is not mended: `nonlocal x` where `x` is bound only further down.
///
/// `None`: the text is over [`MAX_SOURCE`](super::MAX_SOURCE) bytes, or holds a null byte, or no completion was
/// found by dropping 64 statements (fewer in a very long text).
///
/// ```
/// # use vigor::syntax::complete;
/// assert_eq!(complete("def f(x):\n").unwrap(), "def f(x):\n    pass\n");
/// assert_eq!(complete("x = [1, (2,\n").unwrap(), "x = [1, (2,\n)]");
/// assert_eq!(complete("x = 1\ny = x +").unwrap(), "x = 1\n");
/// ```
pub fn complete(prefix: &str) -> Option<String> {
    SyntaxOracle::new().complete(prefix)
}

/// [`complete`] with what was read before, and parsed as excerpts and as whole programs.
pub(super) fn complete_with(
    scan: &mut Scan,
    excerpts: &mut Grammar,
    programs: &mut Grammar,
    prefix: &str,
) -> Option<String> {
    if prefix.len() > MAX_SOURCE || prefix.contains('\0') {
        return None;
    }
    let normal = normal_newlines(prefix);
    let mut text: &str = &normal;
    let mut parsed = 0;
    for _ in 0..=MAX_DROPS {
        scan.read(text);
        let Some(last) = scan.last().map(|line| line.start) else {
            // Nothing but blank lines and comments; or nothing is left.
            return Some(if text.len() == normal.len() { normal.into_owned() } else { "pass\n".to_owned() });
        };
        for draft in [Draft::as_it_is(scan), Draft::closed(scan)].into_iter().flatten() {
            // What is refused in its excerpt is refused in the program, where an error costs more to find.
            let (excerpt, from) = draft.excerpt.program();
            parsed += excerpt.len();
            if excerpts.opinion(&excerpt, from, RULES) == Opinion::Refused {
                continue;
            }
            parsed += draft.program.len();
            if programs.opinion(&draft.program, draft.last, RULES) == Opinion::Accepted {
                return Some(draft.program);
            }
        }
        if parsed > parse_budget(normal.len()) {
            return None;
        }
        // The statement at fault goes: the first one that cannot stand where it is, the one in which the scan
        // failed, else the last one.
        let cut = scan.blocks().map_or_else(|(index, _)| scan.lexer().lines()[index].start, |_| last);
        text = &text[..cut];
    }
    None
}

/// `\r\n` and `\r` as `\n`.
pub(super) fn normal_newlines(text: &str) -> Cow<'_, str> {
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n").into() } else { text.into() }
}

/// A program that may be the completion.
struct Draft {
    program: String,
    /// Where its last statement begins.
    last: usize,
    excerpt: Excerpt,
}

impl Draft {
    /// Step 1.
    fn as_it_is(scan: &Scan) -> Option<Self> {
        let blocks = scan.blocks().ok()?;
        if scan.lexer().error().is_some() || scan.is_open() || blocks.decorated() {
            return None;
        }
        let last = scan.last()?;
        // What these name may be cut in the middle, and half a name can break a rule on names.
        let names = matches!(last.head, Head::Scope | Head::From | Head::Case);
        if names && !last.terminated && last.colon.is_none() {
            return None;
        }
        let excerpt = Excerpt::of(scan, blocks.path());
        Some(Self { program: finish(scan.text(), &blocks), last: last.start, excerpt })
    }

    /// Step 2.
    fn closed(scan: &Scan) -> Option<Self> {
        let (cut, closers) = scan.lexer().closers();
        if scan.lexer().error().is_some() || (cut == 0 && closers.is_empty()) {
            return None;
        }
        let mut closed = scan.text()[..scan.text().len() - cut].to_owned();
        closed.push_str(&closers);
        let last = scan.last()?;
        if last.head.has_body() && last.colon.is_none() && !closers.is_empty() {
            if last.head == Head::Case {
                return None;
            }
            closed.push(':');
        }
        let mut scan = scan.clone();
        scan.read(&closed);
        Self::as_it_is(&scan)
    }
}

/// `text` with its missing bodies and handlers.
pub(super) fn finish(text: &str, blocks: &Blocks) -> String {
    let fixups = blocks.fixups(text);
    if fixups.is_empty() {
        return text.to_owned();
    }
    let mut out = text.trim_end_matches([' ', '\t']).to_owned();
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out.push_str(&fixups);
    out
}
