//! The class of the last line of a prefix.

use crate::session::trace::LineClass;

use super::MAX_SOURCE;
use super::blocks::Blocks;
use super::complete::{complete_with, finish, normal_newlines};
use super::grammar::{Grammar, Opinion};
use super::lexer::Lexer;

/// Classifies lines. It keeps the tree of what it accepted last and parses only what is new when a prefix
/// grows; its answers do not depend on that.
pub struct SyntaxOracle {
    grammar: Grammar,
}

impl Default for SyntaxOracle {
    fn default() -> Self {
        Self::new()
    }
}

impl SyntaxOracle {
    /// An oracle that has seen nothing.
    pub fn new() -> Self {
        Self { grammar: Grammar::new() }
    }

    /// What the last line of `prefix` does to it.
    ///
    /// A last line without newline counts as unfinished: it may go on in any way, so it is `Invalid` only for
    /// what no continuation can mend. A line inside an open bracket or string, a header, a decorator and a
    /// line that goes on after a backslash are fragments. `Invalid` is meant to be certain; a prefix over
    /// [`MAX_SOURCE`](super::MAX_SOURCE) bytes, or nested deeper than CPython allows, is invalid too.
    pub fn line_class(&mut self, prefix: &str) -> LineClass {
        if prefix.len() > MAX_SOURCE {
            return LineClass::Invalid;
        }
        let text = normal_newlines(prefix);
        let mut lexer = Lexer::new();
        lexer.feed(&text);
        let Ok(blocks) = Blocks::of(lexer.lines()) else { return LineClass::Invalid };
        if lexer.error().is_some() {
            return LineClass::Invalid;
        }
        let Some(last) = lexer.lines().last() else { return LineClass::Executable };
        if lexer.depth() > 0 || lexer.in_string() || lexer.continued() {
            return LineClass::Fragment;
        }
        if blocks.decorated() && !last.terminated {
            return LineClass::Fragment;
        }
        let fragment = blocks.decorated() || blocks.wants_body();
        let accepted = match runnable(&text) {
            Some(source) => self.grammar.opinion(&source, last.start) != Opinion::Refused,
            None => false,
        };
        match (accepted, fragment) {
            (_, true) if !last.terminated => LineClass::Fragment,
            (true, true) => LineClass::Fragment,
            (true, false) => LineClass::Executable,
            (false, _) if !last.terminated => LineClass::Fragment,
            (false, _) if self.stood_before(&text[..last.start]) => LineClass::Invalid,
            (false, true) => LineClass::Fragment,
            (false, false) => LineClass::Executable,
        }
    }

    /// [`complete`](super::complete) with this oracle's parser.
    pub fn complete(&mut self, prefix: &str) -> Option<String> {
        complete_with(&mut self.grammar, prefix)
    }

    /// Whether the grammar accepts what was there before the line. Where it does not, it lacks something that
    /// CPython accepted, and its refusal says nothing about the line.
    fn stood_before(&mut self, text: &str) -> bool {
        runnable(text).is_some_and(|source| self.grammar.opinion(&source, source.len()) != Opinion::Refused)
    }
}

/// The prefix with the bodies and handlers that it lacks, and a definition for its last decorator.
fn runnable(text: &str) -> Option<String> {
    let mut lexer = Lexer::new();
    lexer.feed(text);
    let mut blocks = Blocks::of(lexer.lines()).ok()?;
    let mut source = text.to_owned();
    if blocks.decorated() {
        let last = lexer.lines().last()?;
        // A comment or an indentation that is being written.
        source.truncate(source.trim_end_matches([' ', '\t']).len());
        if !source.ends_with('\n') {
            source.push('\n');
        }
        let definition = format!("{}def _():\n", &text[last.start..last.text_start]);
        source.push_str(&definition);
        lexer = Lexer::new();
        lexer.feed(&source);
        blocks = Blocks::of(lexer.lines()).ok()?;
    }
    Some(finish(&source, &blocks))
}
