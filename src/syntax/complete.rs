//! The shortest completion of a prefix that runs.

use super::MAX_SOURCE;
use super::blocks::Blocks;
use super::grammar::{Grammar, Opinion};
use super::lexer::Lexer;
use super::line::{Head, LogicalLine};

/// Most statements that are dropped from the end of a prefix.
const MAX_DROPS: usize = 64;

/// Most bytes that are parsed for one completion of a text of `bytes` bytes. A long text gets few attempts, so
/// that the time is bounded for any text.
fn parse_budget(bytes: usize) -> usize {
    256 * 1024 + 2 * bytes
}

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
    complete_with(&mut Grammar::new(), prefix)
}

/// [`complete`] with a parser at hand.
pub(super) fn complete_with(grammar: &mut Grammar, prefix: &str) -> Option<String> {
    if prefix.len() > MAX_SOURCE || prefix.contains('\0') {
        return None;
    }
    let normal = normal_newlines(prefix);
    let mut text: &str = &normal;
    let mut parsed = 0;
    for _ in 0..=MAX_DROPS {
        let draft = Draft::of(text);
        if draft.lexer.lines().is_empty() {
            // Nothing but blank lines and comments; or nothing is left.
            return Some(if text.len() == normal.len() { normal } else { "pass\n".to_owned() });
        }
        for (candidate, from) in [draft.as_it_is(), draft.closed()].into_iter().flatten() {
            parsed += candidate.len();
            if grammar.opinion(&candidate, from) == Opinion::Accepted {
                return Some(candidate);
            }
        }
        if parsed > parse_budget(normal.len()) {
            return None;
        }
        text = &text[..draft.cut()];
    }
    None
}

/// `\r\n` and `\r` as `\n`.
pub(super) fn normal_newlines(text: &str) -> String {
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text.to_owned() }
}

/// A text and what is known of it.
struct Draft<'a> {
    text: &'a str,
    lexer: Lexer,
    blocks: Result<Blocks, usize>,
}

impl<'a> Draft<'a> {
    fn of(text: &'a str) -> Self {
        let mut lexer = Lexer::new();
        lexer.feed(text);
        let blocks = Blocks::of(lexer.lines()).map_err(|(index, _)| index);
        Self { text, lexer, blocks }
    }

    fn last(&self) -> Option<&LogicalLine> {
        self.lexer.lines().last()
    }

    /// Step 1, with the offset of the last statement.
    fn as_it_is(&self) -> Option<(String, usize)> {
        let blocks = self.blocks.as_ref().ok()?;
        let open = self.lexer.depth() > 0 || self.lexer.in_string() || self.lexer.continued();
        if self.lexer.error().is_some() || open || blocks.decorated() {
            return None;
        }
        let last = self.last()?;
        // What these name may be cut in the middle, and half a name can break a rule on names.
        if !last.terminated
            && matches!(last.head, Head::Scope | Head::From | Head::Case)
            && last.colon.is_none()
        {
            return None;
        }
        Some((finish(self.text, blocks), last.start))
    }

    /// Step 2.
    fn closed(&self) -> Option<(String, usize)> {
        let (cut, closers) = self.lexer.closers();
        if self.lexer.error().is_some() || (cut == 0 && closers.is_empty()) {
            return None;
        }
        let mut closed = self.text[..self.text.len() - cut].to_owned();
        closed.push_str(&closers);
        let last = self.last()?;
        if last.head.has_body() && last.colon.is_none() && !closers.is_empty() {
            if last.head == Head::Case {
                return None;
            }
            closed.push(':');
        }
        let draft = Draft::of(&closed);
        let (text, from) = draft.as_it_is()?;
        Some((text, from))
    }

    /// Where to cut so that the statement at fault is gone: the first one that cannot stand where it is, the
    /// one in which the scan failed, else the last one.
    fn cut(&self) -> usize {
        let lines = self.lexer.lines();
        match self.blocks {
            Err(index) => lines[index].start,
            Ok(_) => self.last().map_or(0, |line| line.start),
        }
    }
}

/// `text` with its missing bodies and handlers.
pub(super) fn finish(text: &str, blocks: &Blocks) -> String {
    let mut fixups = blocks.fixups("");
    if fixups.is_empty() {
        return text.to_owned();
    }
    let mut out = text.trim_end_matches([' ', '\t']).to_owned();
    if !out.ends_with('\n') {
        out.push('\n');
    }
    fixups = blocks.fixups(text);
    out.push_str(&fixups);
    out
}
