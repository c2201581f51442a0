//! A text and its logical lines, which follow as the text changes.

use super::blocks::{BlockError, Blocks};
use super::lexer::Lexer;
use super::line::LogicalLine;

/// A text that was read. The next one is read from where it begins to differ, so that a line more costs that
/// line, and so does another line in its place.
#[derive(Clone, Default)]
pub(super) struct Scan {
    text: String,
    lexer: Lexer,
}

impl Scan {
    /// Reads `text`; it has no `\r`.
    pub(super) fn read(&mut self, text: &str) {
        let mut from = common_prefix(self.text.as_bytes(), text.as_bytes());
        if from < self.text.len() {
            from = self.lexer.rewind(from);
        }
        self.lexer.feed(&text[from..]);
        self.text.truncate(from);
        self.text.push_str(&text[from..]);
    }

    /// The text that was read last.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The state after the text.
    pub(super) fn lexer(&self) -> &Lexer {
        &self.lexer
    }

    /// Its last logical line, which may be unterminated.
    pub(super) fn last(&self) -> Option<&LogicalLine> {
        self.lexer.lines().last()
    }

    /// Its indentation structure; an error is that of the first line that cannot stand where it is, with its
    /// index.
    pub(super) fn blocks(&self) -> Result<Blocks, (usize, BlockError)> {
        Blocks::of(self.lexer.lines())
    }

    /// Whether the text ends inside of a bracket or a string, or after a backslash that continues its line.
    pub(super) fn is_open(&self) -> bool {
        self.lexer.depth() > 0 || self.lexer.in_string() || self.lexer.continued()
    }
}

/// Number of bytes at the beginning that two texts have in common.
pub(super) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    // Whole pieces at a time: the texts are mostly equal.
    const PIECE: usize = 256;
    let equal = a.chunks_exact(PIECE).zip(b.chunks_exact(PIECE)).take_while(|(a, b)| a == b).count() * PIECE;
    equal + a[equal..].iter().zip(&b[equal..]).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::{Scan, common_prefix};

    #[test]
    fn a_changed_text_is_read_like_a_new_one() {
        let texts = [
            "def f():\n    x = [1,\n",
            "def f():\n    x = [1,\n 2]\n    '''a\nb",
            "def f():\n    x = [1,\n 2]\n    '''a\nb'''\n# c\n\n",
            "def f():\n    x = [1,\n 3)\n",
            "def f():\n    x = [1,\n 3]\n",
            "def g",
            "",
        ];
        let mut scan = Scan::default();
        for text in texts.into_iter().chain(texts.into_iter().rev()) {
            scan.read(text);
            let mut fresh = Scan::default();
            fresh.read(text);
            assert_eq!(scan.text(), text);
            assert_eq!(scan.lexer().lines(), fresh.lexer().lines(), "{text:?}");
            assert_eq!(scan.lexer().error(), fresh.lexer().error(), "{text:?}");
            assert_eq!(scan.is_open(), fresh.is_open(), "{text:?}");
        }
    }

    #[test]
    fn common_beginnings_of_any_length() {
        for len in [0, 1, 255, 256, 257, 1000] {
            let text = vec![b'x'; len];
            let longer = [&text[..], b"yz"].concat();
            let other = [&text[..], b"zz"].concat();
            assert_eq!(common_prefix(&text, &text), len);
            assert_eq!(common_prefix(&text, &longer), len);
            assert_eq!(common_prefix(&longer, &other), len);
        }
    }
}
