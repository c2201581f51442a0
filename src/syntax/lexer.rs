//! Bytes to logical lines, one byte at a time, without a parser.
//!
//! The state after any prefix is known, so text can be fed as it is sampled. Newer Pythons' rules are used
//! where versions differ (quotes inside the fields of f-strings), because they accept more.

mod strings;

use super::MAX_BRACKETS;
use super::line::{Head, Indent, LexError, LexErrorKind, LogicalLine};

/// Whether `text` ends inside a string literal (the fields of an f-string do not count as inside).
///
/// ```
/// # use vigor::syntax::in_string;
/// assert!(in_string("x = '''it's"));
/// assert!(!in_string("x = 'it'  # don't"));
/// ```
pub fn in_string(text: &str) -> bool {
    let mut lexer = Lexer::new();
    lexer.feed(text);
    lexer.in_string()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct StringKind {
    quote: u8,
    triple: bool,
    raw: bool,
    formatted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Bracket(u8),
    String(StringKind),
    /// `{` in an f-string; `spec` after its colon, where text is literal again.
    Field {
        spec: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Between lines: counting indentation.
    Margin,
    Code,
    Comment,
    /// After a backslash in code.
    Backslash,
    /// After a backslash and its newline.
    Continued,
    /// After one or two opening quotes.
    Quote(u8),
    /// In the text of a string or of a format specification.
    Text,
    /// After a backslash in a string.
    Escape,
    /// After `\N` in a string.
    Named,
    /// In the braces of `\N{…}`.
    Name,
    /// After `{` in the text of an f-string.
    Brace,
}

const WORD: usize = 9;

/// The state of the scan. Feed it text; ask it anything at any time.
#[derive(Debug, Clone)]
pub struct Lexer {
    position: usize,
    mode: Mode,
    open: Vec<Open>,
    lines: Vec<LogicalLine>,
    in_line: bool,
    line_start: usize,
    indent: Indent,
    /// The word being read, cut at nine bytes, and the words that its line had before it.
    word: [u8; WORD],
    word_len: usize,
    words: usize,
    is_async: bool,
    /// `lambda`s outside brackets that wait for their colon.
    lambdas: usize,
    pending: StringKind,
    escape_start: usize,
    /// Unescaped quotes of the open string's kind right before here, not yet closing it.
    quotes: u8,
    after_cr: bool,
    error: Option<LexError>,
}

impl Default for Lexer {
    fn default() -> Self {
        Self::new()
    }
}

impl Lexer {
    /// A scan at the beginning of a text.
    pub fn new() -> Self {
        Self {
            position: 0,
            mode: Mode::Margin,
            open: Vec::new(),
            lines: Vec::new(),
            in_line: false,
            line_start: 0,
            indent: Indent::default(),
            word: [0; WORD],
            word_len: 0,
            words: 0,
            is_async: false,
            lambdas: 0,
            pending: StringKind { quote: 0, triple: false, raw: false, formatted: false },
            escape_start: 0,
            quotes: 0,
            after_cr: false,
            error: None,
        }
    }

    /// Reads `text`, which continues what was fed before. After an error nothing more is read.
    pub fn feed(&mut self, text: &str) {
        for &byte in text.as_bytes() {
            if self.error.is_some() {
                return;
            }
            // CPython reads \r and \r\n as \n.
            let skip = byte == b'\n' && self.after_cr;
            self.after_cr = byte == b'\r';
            if !skip {
                self.step(if byte == b'\r' { b'\n' } else { byte });
            }
            self.position += 1;
            if self.in_line
                && let Some(line) = self.lines.last_mut()
            {
                line.end = self.position;
            } else if skip && let Some(line) = self.lines.last_mut() {
                // The second half of the newline that ended the line just now.
                if line.end + 1 == self.position {
                    line.end = self.position;
                }
                self.line_start = self.position;
            }
        }
    }

    /// Goes back to the end of the last whole logical line that ends at or before byte `limit`, and forgets
    /// what was read after it. Returns the place from which to feed on.
    pub(super) fn rewind(&mut self, limit: usize) -> usize {
        let kept = self.lines.partition_point(|line| line.terminated && line.end <= limit);
        let mut lines = std::mem::take(&mut self.lines);
        lines.truncate(kept);
        let position = lines.last().map_or(0, |line| line.end);
        *self = Self { position, line_start: position, lines, ..Self::new() };
        position
    }

    /// Bytes read.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The logical lines so far; the last one may be unterminated.
    pub fn lines(&self) -> &[LogicalLine] {
        &self.lines
    }

    /// The first thing that cannot be Python, if any.
    pub fn error(&self) -> Option<LexError> {
        self.error
    }

    /// Whether the text ends inside the text of a string literal.
    pub fn in_string(&self) -> bool {
        match self.mode {
            Mode::Quote(count) => count == 1,
            Mode::Text | Mode::Escape | Mode::Named | Mode::Name | Mode::Brace => true,
            _ => false,
        }
    }

    /// Number of open brackets and f-string fields.
    pub fn depth(&self) -> usize {
        self.open.iter().filter(|open| !matches!(open, Open::String(_))).count()
    }

    /// Whether the text ends after a backslash that continues its line.
    pub fn continued(&self) -> bool {
        matches!(self.mode, Mode::Backslash | Mode::Continued)
    }

    /// Whether the last logical line is not over: no newline yet, or one inside a bracket or a string, or
    /// one after a backslash.
    pub fn line_is_open(&self) -> bool {
        self.in_line
    }

    /// Whether the last logical line is a complete header and its block has not begun.
    pub fn opens_block(&self) -> bool {
        self.lines.last().is_some_and(LogicalLine::opens_block)
    }

    /// Indentation of the last logical line, or of the blank line that the text ends in.
    pub fn indent(&self) -> Indent {
        match (self.mode, self.lines.last()) {
            (Mode::Margin, _) | (_, None) => self.indent,
            (_, Some(line)) => line.indent,
        }
    }

    fn fail(&mut self, kind: LexErrorKind) {
        let in_field = self
            .open
            .iter()
            .skip_while(|open| !matches!(open, Open::Bracket(_)))
            .any(|open| matches!(open, Open::Field { .. }));
        let kind = if in_field && kind != LexErrorKind::Null { LexErrorKind::Field } else { kind };
        self.error = Some(LexError { offset: self.position, kind });
    }

    fn step(&mut self, byte: u8) {
        if byte == 0 {
            return self.fail(LexErrorKind::Null);
        }
        match self.mode {
            Mode::Margin => self.margin(byte),
            Mode::Code | Mode::Continued => self.code(byte),
            Mode::Comment => {
                if byte == b'\n' {
                    self.newline();
                }
            }
            Mode::Backslash if byte == b'\n' => self.mode = Mode::Continued,
            Mode::Backslash => self.fail(LexErrorKind::Backslash),
            Mode::Quote(count) => self.quote(byte, count),
            Mode::Text => self.text(byte),
            Mode::Escape => self.escape(byte),
            Mode::Named if byte == b'{' => self.mode = Mode::Name,
            Mode::Named => {
                self.mode = Mode::Text;
                self.text(byte);
            }
            Mode::Name if byte == b'}' => self.mode = Mode::Text,
            Mode::Name => {
                if byte == b'\n' || self.string().is_some_and(|kind| kind.quote == byte) {
                    self.mode = Mode::Text;
                    self.text(byte);
                }
            }
            Mode::Brace if byte == b'{' => self.mode = Mode::Text,
            Mode::Brace => {
                self.push(Open::Field { spec: false });
                self.mode = Mode::Code;
                self.word_len = 0;
                self.code(byte);
            }
        }
    }

    fn margin(&mut self, byte: u8) {
        match byte {
            b' ' => {
                self.indent.columns += 1;
                self.indent.narrow += 1;
            }
            b'\t' => {
                self.indent.columns = (self.indent.columns / 8 + 1) * 8;
                self.indent.narrow += 1;
            }
            0x0c => self.indent = Indent::default(),
            b'\n' => self.newline(),
            b'#' => self.mode = Mode::Comment,
            // A byte order mark may open a file; it is no indentation and no token.
            0xef | 0xbb | 0xbf if self.position < 3 && self.indent.columns == 0 => {}
            _ => {
                self.lines.push(LogicalLine {
                    start: self.line_start,
                    text_start: self.position,
                    end: self.position,
                    indent: self.indent,
                    head: if byte == b'@' { Head::Decorator } else { Head::Plain },
                    colon: None,
                    inline_body: false,
                    terminated: false,
                });
                self.in_line = true;
                self.words = 0;
                self.is_async = false;
                self.lambdas = 0;
                self.word_len = 0;
                self.mode = Mode::Code;
                self.code(byte);
            }
        }
    }

    /// A newline that ends a physical line outside of strings.
    fn newline(&mut self) {
        if self.open.is_empty() {
            if self.in_line
                && let Some(line) = self.lines.last_mut()
            {
                line.terminated = true;
                line.end = self.position + 1;
            }
            self.in_line = false;
            self.indent = Indent::default();
            self.line_start = self.position + 1;
            self.mode = Mode::Margin;
        } else {
            self.mode = Mode::Code;
        }
    }

    fn code(&mut self, byte: u8) {
        if byte == b'_' || byte.is_ascii_alphanumeric() || byte >= 0x80 {
            self.mode = Mode::Code;
            if self.word_len < WORD {
                self.word[self.word_len] = byte;
            }
            self.word_len += 1;
            return self.mark_body();
        }
        if matches!(byte, b'"' | b'\'') {
            self.pending = self.string_kind(byte);
            self.word_len = 0;
            self.words += 1;
            self.mode = Mode::Quote(1);
            return self.mark_body();
        }
        self.end_word();
        self.mode = Mode::Code;
        match byte {
            b' ' | b'\t' | 0x0c => return,
            b'\n' => return self.newline(),
            b'#' => {
                self.mode = Mode::Comment;
                return;
            }
            b'\\' => {
                self.mode = Mode::Backslash;
                return;
            }
            b':' if self.open.is_empty() => return self.colon(),
            b':' if matches!(self.open.last(), Some(Open::Field { .. })) => {
                self.open.pop();
                self.open.push(Open::Field { spec: true });
                self.begin_text();
            }
            b'=' if self.open.is_empty() => self.undo_walrus(),
            b'(' | b'[' | b'{' => self.push(Open::Bracket(byte)),
            b')' | b']' | b'}' => self.close(byte),
            _ => {}
        }
        self.words += 1;
        self.mark_body();
    }

    /// Something that is neither space nor comment, in code.
    fn mark_body(&mut self) {
        if let Some(line) = self.lines.last_mut()
            && line.colon.is_some()
        {
            line.inline_body = true;
        }
    }

    fn end_word(&mut self) {
        if self.word_len == 0 {
            return;
        }
        let word = &self.word[..self.word_len.min(WORD)];
        if self.open.is_empty() {
            if word == b"lambda" {
                self.lambdas += 1;
            }
            let first = self.words == 0 || self.words == 1 && self.is_async;
            if first && let Some(line) = self.lines.last_mut() {
                line.head = Head::of(word);
            }
            self.is_async = self.words == 0 && word == b"async";
        }
        self.words += 1;
        self.word_len = 0;
    }

    fn colon(&mut self) {
        if self.lambdas > 0 {
            self.lambdas -= 1;
            return;
        }
        // `match:` and `case:` are annotations of names.
        let soft = self.words < 2;
        if let Some(line) = self.lines.last_mut() {
            let annotation = matches!(line.head, Head::Match | Head::Case) && soft;
            if line.colon.is_some() {
                line.inline_body = true;
            } else if line.head.has_body() && !annotation {
                line.colon = Some(self.position + 1);
            }
        }
        self.words += 1;
    }

    fn undo_walrus(&mut self) {
        if let Some(line) = self.lines.last_mut()
            && line.colon == Some(self.position)
            && !line.inline_body
        {
            line.colon = None;
        }
    }

    fn push(&mut self, open: Open) {
        if self.open.len() >= MAX_BRACKETS {
            return self.fail(LexErrorKind::Depth);
        }
        self.open.push(open);
    }

    fn close(&mut self, byte: u8) {
        let matches = match self.open.last() {
            Some(Open::Bracket(b'(')) => byte == b')',
            Some(Open::Bracket(b'[')) => byte == b']',
            Some(Open::Bracket(_) | Open::Field { .. }) => byte == b'}',
            Some(Open::String(_)) | None => false,
        };
        if !matches {
            return self.fail(LexErrorKind::Bracket);
        }
        self.open.pop();
        self.after_close();
    }

    fn after_close(&mut self) {
        match self.open.last() {
            Some(Open::String(_) | Open::Field { spec: true }) => self.begin_text(),
            _ => {
                self.mode = Mode::Code;
                self.word_len = 0;
            }
        }
    }
}
