//! Logical lines, and what is wrong with bytes that make none.

/// What cannot be Python, whatever follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LexError {
    /// Byte offset at which it was noticed.
    pub offset: usize,
    /// What it is.
    pub kind: LexErrorKind,
}

/// The ways in which bytes cannot be Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LexErrorKind {
    /// `)` without `(`, or closing another kind.
    #[error("a closing bracket does not match any open one")]
    Bracket,
    /// More than [`MAX_BRACKETS`](super::MAX_BRACKETS) open brackets.
    #[error("brackets are nested too deeply")]
    Depth,
    /// A line ended inside a string of one line.
    #[error("a string is not closed on its line")]
    String,
    /// The field of an f-string inside of a bracket is none. Python before 3.12 looks at it only when the
    /// bracket is closed.
    #[error("the field of an f-string cannot be one")]
    Field,
    /// Something follows a backslash that continues the line.
    #[error("a backslash is followed by something on its line")]
    Backslash,
    /// A null byte.
    #[error("the source holds a null byte")]
    Null,
}

/// Width of an indentation, as CPython measures it: with tabs to multiples of eight, and with tabs as one.
/// Two indentations compare only when both measures agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Indent {
    /// Columns with tab stops every eight.
    pub columns: usize,
    /// Columns with a tab as one.
    pub narrow: usize,
}

/// What a logical line begins with, as far as the structure of blocks depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// Anything else.
    Plain,
    /// `@`.
    Decorator,
    /// `global` or `nonlocal`.
    Scope,
    /// `from`.
    From,
    /// `if`, `for`, `while`, `with` (and the `async` ones).
    Flow,
    /// `elif`, `else`.
    Alternative,
    /// `try`.
    Try,
    /// `except`.
    Except,
    /// `finally`.
    Finally,
    /// `def`, `async def`.
    Def,
    /// `class`.
    Class,
    /// `match`.
    Match,
    /// `case`.
    Case,
}

impl Head {
    pub(super) fn of(word: &[u8]) -> Self {
        match word {
            b"if" | b"for" | b"while" | b"with" => Self::Flow,
            b"elif" | b"else" => Self::Alternative,
            b"try" => Self::Try,
            b"except" => Self::Except,
            b"finally" => Self::Finally,
            b"def" => Self::Def,
            b"class" => Self::Class,
            b"match" => Self::Match,
            b"case" => Self::Case,
            b"from" => Self::From,
            b"global" | b"nonlocal" => Self::Scope,
            _ => Self::Plain,
        }
    }

    /// Whether a line with this head has a colon and a body.
    pub fn has_body(self) -> bool {
        !matches!(self, Self::Plain | Self::Decorator | Self::Scope | Self::From)
    }

    /// Whether a line with this head goes on with the statement before it.
    pub fn continues(self) -> bool {
        matches!(self, Self::Alternative | Self::Except | Self::Finally)
    }
}

/// A statement line with all its physical lines; comments and blank lines are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogicalLine {
    /// Byte offset of the physical line that it begins on.
    pub start: usize,
    /// Byte offset of its first token.
    pub text_start: usize,
    /// Byte offset after its newline, or after what is there of it.
    pub end: usize,
    /// Its indentation.
    pub indent: Indent,
    /// What it begins with.
    pub head: Head,
    /// Byte offset after the colon of its header; none for a line whose head has no body.
    pub colon: Option<usize>,
    /// Something follows that colon on the line.
    pub inline_body: bool,
    /// Its newline has come.
    pub terminated: bool,
}

impl LogicalLine {
    /// Whether the line is a complete header whose block must follow on the next lines.
    pub fn opens_block(&self) -> bool {
        self.head.has_body() && self.colon.is_some() && !self.inline_body
    }
}
