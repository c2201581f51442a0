//! The syntax of Python prefixes: what a text that a model is still writing is, and how to make it run.
//!
//! Two instruments, cheapest first. The [`Lexer`] reads every byte once and knows strings, brackets and
//! indentation; what it refuses is refused for certain. tree-sitter keeps a tree and refuses statements that
//! its grammar does not know. Neither is the authority: CPython is, in the sandbox where the program runs
//! anyway. So both lean one way: they may let a wrong line pass, they must not stop a right one.
//!
//! | file | holds |
//! | --- | --- |
//! | `lexer`, `line` | bytes → logical lines, open strings and brackets |
//! | `scan` | a text that changes → its lines, read from where it differs |
//! | `blocks` | logical lines → indentation levels, open headers, `try` without a handler |
//! | `excerpt` | a text → its last line, with the headers over it |
//! | `outline` | a program → what its continuations depend on |
//! | `grammar` | tree-sitter, bounded; the rules of CPython that its grammar lacks |
//! | `hanging` | lines inside of brackets, where the grammar takes them |
//! | `complete` | prefix → shortest completion that runs |
//! | `oracle` | prefix → class of its last line |
//! | `scopes` | which names a prefix defines at its top level |
//! | `fence` | a model's answer → the program in it |

mod blocks;
mod complete;
mod excerpt;
mod fence;
mod grammar;
mod hanging;
mod lexer;
mod line;
mod oracle;
mod outline;
mod scan;
mod scopes;
mod strip;

pub use complete::complete;
pub use fence::extract_program;
pub use lexer::{Lexer, in_string};
pub use line::{Head, Indent, LexError, LexErrorKind, LogicalLine};
pub use oracle::SyntaxOracle;
pub use outline::Outline;
pub use scopes::defines;
pub use strip::strip;

/// Longest source that is looked at, in bytes. A longer one is refused before anything reads it.
pub const MAX_SOURCE: usize = 1 << 20;

/// Deepest nesting of brackets and f-string fields; CPython's own limit.
pub const MAX_BRACKETS: usize = 200;

/// Deepest nesting of indented blocks; CPython's own limit.
pub const MAX_INDENTS: usize = 100;
