//! The part of the scan that is about strings: their kinds, their text, what would close them.

use super::{LexErrorKind, Lexer, Mode, Open, StringKind, WORD};

impl Lexer {
    /// The text that closes every open string, field and bracket, and the number of bytes at the end of the
    /// text to take away first: half an escape, half of the closing quotes.
    pub fn closers(&self) -> (usize, String) {
        let mut cut = match self.mode {
            Mode::Escape | Mode::Named | Mode::Name => self.position - self.escape_start,
            Mode::Brace | Mode::Backslash => 1,
            Mode::Continued => 2,
            Mode::Text => usize::from(self.quotes),
            _ => 0,
        };
        let mut closers = String::new();
        if self.mode == Mode::Quote(1) {
            closers.push(char::from(self.pending.quote));
        }
        for (at, open) in self.open.iter().enumerate().rev() {
            match open {
                Open::Bracket(b'(') => closers.push(')'),
                Open::Bracket(b'[') => closers.push(']'),
                Open::Bracket(_) | Open::Field { .. } => closers.push('}'),
                Open::String(kind) => {
                    let innermost = at + 1 == self.open.len();
                    if innermost && self.mode == Mode::Text {
                        cut = cut.max(self.partial_escape(*kind));
                    }
                    let count = if kind.triple { 3 } else { 1 };
                    closers.extend(std::iter::repeat_n(char::from(kind.quote), count));
                }
            }
        }
        (cut, closers)
    }

    /// Length of an escape that the text ends in the middle of (`\x4`); 0 where the last one is whole.
    fn partial_escape(&self, kind: StringKind) -> usize {
        let len = self.position - self.escape_start;
        // `word` holds the first bytes after the backslash while in a string.
        let needed = match self.word.first() {
            Some(b'x') => 4,
            Some(b'u') => 6,
            Some(b'U') => 10,
            _ => 0,
        };
        if !kind.raw && self.word_len > 0 && len < needed { len } else { 0 }
    }

    pub(super) fn string_kind(&self, quote: u8) -> StringKind {
        let prefix = &self.word[..self.word_len.min(WORD)];
        let has = |letters: [u8; 2]| prefix.iter().any(|byte| letters.contains(byte));
        let is_prefix =
            prefix.len() <= 2 && prefix.iter().all(|byte| b"rRbBfFuUtT".contains(byte)) && self.word_len <= 2;
        StringKind {
            quote,
            triple: false,
            raw: is_prefix && has(*b"rR"),
            formatted: is_prefix && (has(*b"fF") || has(*b"tT")),
        }
    }

    pub(super) fn quote(&mut self, byte: u8, count: u8) {
        let same = byte == self.pending.quote;
        match (count, same) {
            (1, true) => self.mode = Mode::Quote(2),
            (_, true) => {
                self.push(Open::String(StringKind { triple: true, ..self.pending }));
                self.begin_text();
            }
            (1, false) => {
                self.push(Open::String(self.pending));
                self.begin_text();
                self.text(byte);
            }
            // Two quotes and then something else: an empty string.
            (_, false) => {
                self.mode = Mode::Code;
                self.code(byte);
            }
        }
    }

    pub(super) fn begin_text(&mut self) {
        self.mode = Mode::Text;
        self.quotes = 0;
        self.escape_start = self.position;
        self.word_len = 0;
        self.word = [0; WORD];
    }

    /// The innermost string.
    pub(super) fn string(&self) -> Option<StringKind> {
        self.open.iter().rev().find_map(|open| match open {
            Open::String(kind) => Some(*kind),
            _ => None,
        })
    }

    pub(super) fn text(&mut self, byte: u8) {
        let Some(kind) = self.string() else {
            self.mode = Mode::Code;
            return;
        };
        if byte == kind.quote {
            self.quotes += 1;
            if !kind.triple || self.quotes == 3 {
                // Fields that are still open inside of the string end with it; the parser refuses them.
                while let Some(open) = self.open.pop() {
                    if matches!(open, Open::String(_)) {
                        break;
                    }
                }
                self.after_close();
            }
            return;
        }
        self.quotes = 0;
        let spec = matches!(self.open.last(), Some(Open::Field { .. }));
        match byte {
            b'\\' => {
                self.escape_start = self.position;
                self.word_len = 0;
                self.mode = Mode::Escape;
            }
            b'\n' if !kind.triple => self.fail(LexErrorKind::String),
            b'{' if spec => {
                self.push(Open::Field { spec: false });
                self.mode = Mode::Code;
                self.word_len = 0;
            }
            b'{' if kind.formatted => self.mode = Mode::Brace,
            b'}' if spec => {
                self.open.pop();
                self.begin_text();
            }
            _ => {}
        }
    }

    /// The byte after a backslash in a string.
    pub(super) fn escape(&mut self, byte: u8) {
        let kind = self.string();
        self.quotes = 0;
        self.word[0] = byte;
        self.word_len = 1;
        self.mode = match kind {
            // No escape hides a field: `f"\{x}"` has one.
            Some(kind) if byte == b'{' && kind.formatted => {
                self.mode = Mode::Text;
                return self.text(byte);
            }
            Some(kind) if byte == b'N' && !kind.raw => Mode::Named,
            _ => Mode::Text,
        };
    }
}
