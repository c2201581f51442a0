//! Tokens that are found in a text before it is split: control marks, and pieces that must stay whole.

/// A token that is recognised by its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AddedToken {
    pub(crate) text: String,
    pub(crate) id: u32,
    /// Recognised only where the text is trusted to hold control marks.
    pub(crate) control: bool,
    /// Swallows the white space before it.
    pub(crate) lstrip: bool,
    /// Swallows the white space after it.
    pub(crate) rstrip: bool,
    /// Recognised only between characters that are not letters, digits or `_`.
    pub(crate) single_word: bool,
}

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// To be split and merged.
    Text(&'a str),
    /// Already a token.
    Token(u32),
}

/// All added tokens of a vocabulary.
pub(crate) struct AddedTokens {
    tokens: Vec<AddedToken>,
    /// Indices into `tokens` by the first byte of their text, the longest text first.
    by_byte: Vec<Vec<usize>>,
}

impl AddedTokens {
    pub(crate) fn new(tokens: Vec<AddedToken>) -> Self {
        let mut by_byte = vec![Vec::new(); 256];
        for (index, token) in tokens.iter().enumerate() {
            if let Some(&first) = token.text.as_bytes().first() {
                by_byte[usize::from(first)].push(index);
            }
        }
        for indices in &mut by_byte {
            indices.sort_by_key(|&index| std::cmp::Reverse(tokens[index].text.len()));
        }
        Self { tokens, by_byte }
    }

    /// Cuts a text at its added tokens: the leftmost first, of several at one place the longest. No piece of text
    /// is empty.
    pub(crate) fn split<'a>(&self, text: &'a str, with_control: bool) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        let mut start = 0;
        let mut at = 0;
        while at < text.len() {
            let Some(token) = self.found(text, at, with_control) else {
                at += 1;
                continue;
            };
            let mut before = &text[start..at];
            if token.lstrip {
                before = before.trim_end();
            }
            if !before.is_empty() {
                pieces.push(Piece::Text(before));
            }
            pieces.push(Piece::Token(token.id));
            at += token.text.len();
            if token.rstrip {
                at = text.len() - text[at..].trim_start().len();
            }
            start = at;
        }
        if start < text.len() {
            pieces.push(Piece::Text(&text[start..]));
        }
        pieces
    }

    fn found(&self, text: &str, at: usize, with_control: bool) -> Option<&AddedToken> {
        // Every token is valid UTF-8, so a match of its bytes begins and ends between characters of the text.
        let rest = &text.as_bytes()[at..];
        self.by_byte[usize::from(rest[0])].iter().map(|&index| &self.tokens[index]).find(|token| {
            rest.starts_with(token.text.as_bytes())
                && (with_control || !token.control)
                && (!token.single_word || stands_alone(text, at, at + token.text.len()))
        })
    }
}

fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    !text[..start].ends_with(is_word) && !text[end..].starts_with(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str, id: u32) -> AddedToken {
        AddedToken { text: text.into(), id, control: false, lstrip: false, rstrip: false, single_word: false }
    }

    #[test]
    fn leftmost_then_longest() {
        let added = AddedTokens::new(vec![token("<a", 1), token("<a>", 2), token("é", 3)]);
        let pieces = added.split("x<a>é<a <", false);
        use Piece::{Text, Token};
        assert_eq!(pieces, [Text("x"), Token(2), Token(3), Token(1), Text(" <")]);
        assert!(added.split("", true).is_empty());
    }

    #[test]
    fn control_marks_are_found_only_on_request() {
        let added = AddedTokens::new(vec![AddedToken { control: true, ..token("<|x|>", 9) }]);
        assert_eq!(added.split("a<|x|>", false), [Piece::Text("a<|x|>")]);
        assert_eq!(added.split("a<|x|>", true), [Piece::Text("a"), Piece::Token(9)]);
    }

    #[test]
    fn flags_of_tokenizer_json_hold() {
        let strip = AddedTokens::new(vec![AddedToken { lstrip: true, rstrip: true, ..token("<m>", 1) }]);
        assert_eq!(strip.split("a \n<m>  b", false), [Piece::Text("a"), Piece::Token(1), Piece::Text("b")]);
        let word = AddedTokens::new(vec![AddedToken { single_word: true, ..token("do", 1) }]);
        assert_eq!(word.split("undo dos", false), [Piece::Text("undo dos")]);
        assert_eq!(word.split("do", false), [Piece::Token(1)]);
    }
}
