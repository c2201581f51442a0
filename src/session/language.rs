//! The language role: what lines are, and how a prefix becomes a program that can run.

use std::cell::RefCell;

use super::trace::LineClass;
use crate::syntax::{self, SyntaxOracle};

/// Knows the language that the model writes.
pub trait Language: Send + Sync {
    /// What the last line does to the prefix that it ends.
    fn line_class(&self, prefix: &str) -> LineClass;
    /// The prefix completed minimally, so that it can run; `None` when nothing of it can.
    fn complete(&self, prefix: &str) -> Option<String>;
    /// A program without what does not run (comments, docstrings).
    fn strip(&self, program: &str) -> String;
    /// Whether the prefix ends inside a string.
    fn in_string(&self, prefix: &str) -> bool;
    /// Whether the prefix has begun to define a name at its top level.
    fn defines(&self, prefix: &str, name: &str) -> bool;
}

thread_local! {
    // A session stays on its thread, so what the thread's oracle knows is where the session's prefix grows from.
    static ORACLE: RefCell<SyntaxOracle> = RefCell::default();
}

/// Python, by tree-sitter and our lexer.
pub struct Python;

impl Language for Python {
    fn line_class(&self, prefix: &str) -> LineClass {
        ORACLE.with_borrow_mut(|oracle| oracle.line_class(prefix))
    }

    fn complete(&self, prefix: &str) -> Option<String> {
        ORACLE.with_borrow_mut(|oracle| oracle.complete(prefix))
    }

    fn strip(&self, program: &str) -> String {
        syntax::strip(program)
    }

    fn in_string(&self, prefix: &str) -> bool {
        syntax::in_string(prefix)
    }

    fn defines(&self, prefix: &str, name: &str) -> bool {
        syntax::defines(prefix, name)
    }
}
