//! The class of the last line of a prefix.

use crate::session::trace::LineClass;

use super::MAX_SOURCE;
use super::complete::{complete_with, normal_newlines};
use super::excerpt::Excerpt;
use super::grammar::{Grammar, Opinion, Rules};
use super::line::LexErrorKind;
use super::scan::Scan;

/// Classifies and completes prefixes. It keeps what it read last and the trees of what it accepted last, and
/// reads and parses only what is new when a prefix grows or gets another last line; its answers do not depend
/// on that.
#[derive(Default)]
pub struct SyntaxOracle {
    scan: Scan,
    /// For excerpts, with the tree of the last one.
    excerpts: Grammar,
    /// For whole programs, with the tree of the last one.
    programs: Grammar,
}

impl SyntaxOracle {
    /// An oracle that has seen nothing.
    pub fn new() -> Self {
        Self::default()
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
        self.scan.read(&normal_newlines(prefix));
        let lexer = self.scan.lexer();
        match lexer.error() {
            Some(error) if error.kind == LexErrorKind::Field => return LineClass::Fragment,
            Some(_) => return LineClass::Invalid,
            None => {}
        }
        let blocks = match self.scan.blocks() {
            Ok(blocks) => blocks,
            // CPython looks at the place of a line only when its first token is whole.
            Err((line, _)) if line + 1 == lexer.lines().len() && (lexer.in_string() || lexer.continued()) => {
                return LineClass::Fragment;
            }
            Err(_) => return LineClass::Invalid,
        };
        let Some(last) = self.scan.last() else { return LineClass::Executable };
        let terminated = last.terminated;
        let fragment = blocks.decorated() || blocks.wants_body();
        if self.scan.is_open() || fragment && !terminated {
            return LineClass::Fragment;
        }
        let excerpt = Excerpt::of(&self.scan, blocks.path());
        let (program, from) = excerpt.program();
        let rules = if blocks.is_whole() { Rules::OfParserAndCompiler } else { Rules::OfParser };
        let refused = self.excerpts.opinion(&program, from, rules) == Opinion::Refused;
        match (refused, terminated) {
            // Where the grammar refuses even the headers, it lacks something that CPython accepted, and its
            // refusal says nothing about the line.
            (true, true) if self.excerpts.opinion(&excerpt.headers(), from, rules) != Opinion::Refused => {
                LineClass::Invalid
            }
            (true, false) => LineClass::Fragment,
            _ if fragment => LineClass::Fragment,
            _ => LineClass::Executable,
        }
    }

    /// [`complete`](super::complete), which it is quicker than where the prefix is like the last one.
    pub fn complete(&mut self, prefix: &str) -> Option<String> {
        complete_with(&mut self.scan, &mut self.excerpts, &mut self.programs, prefix)
    }
}
