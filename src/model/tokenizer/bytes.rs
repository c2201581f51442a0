//! The bytes behind every token.

use std::collections::HashMap;

/// How a vocabulary writes bytes as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// GPT-2's alphabet: every byte is one printable character.
    ByteLevel,
    /// SentencePiece: `▁` is a space, `<0x0A>` a byte, everything else itself.
    SentencePiece,
}

/// The bytes of all tokens, one after the other.
pub(crate) struct TokenBytes {
    blob: Vec<u8>,
    /// Token `i` is `blob[ends[i - 1]..ends[i]]`.
    ends: Vec<u32>,
    /// Tokens of one byte, for [`TokenBytes::find`].
    single: HashMap<u8, u32>,
    spelling: Spelling,
}

impl TokenBytes {
    /// From the tokens in order of id; `true` marks those to be taken literally (special tokens).
    pub(crate) fn new<'a>(tokens: impl Iterator<Item = (&'a str, bool)>, spelling: Spelling) -> Self {
        let alphabet = reversed_alphabet();
        let mut bytes = Self { blob: Vec::new(), ends: Vec::new(), single: HashMap::new(), spelling };
        for (id, (token, literal)) in tokens.enumerate() {
            let start = bytes.blob.len();
            match spelling {
                _ if literal => bytes.blob.extend_from_slice(token.as_bytes()),
                Spelling::ByteLevel => push_byte_level(&mut bytes.blob, token, &alphabet),
                Spelling::SentencePiece => push_sentence_piece(&mut bytes.blob, token),
            }
            if let (&[byte], false) = (&bytes.blob[start..], literal) {
                bytes.single.entry(byte).or_insert(id as u32);
            }
            // A vocabulary of 4 GiB is refused long before: every file format counts its tokens' bytes in memory.
            bytes.ends.push(bytes.blob.len() as u32);
        }
        bytes
    }

    pub(crate) fn spelling(&self) -> Spelling {
        self.spelling
    }

    pub(crate) fn get(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let Some(&end) = self.ends.get(id) else { return &[] };
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.blob[start as usize..end as usize]
    }

    /// The first token with exactly these bytes. Slow but for single bytes.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<u32> {
        match bytes {
            [] => None,
            [byte] => self.single.get(byte).copied(),
            _ => (0..self.ends.len() as u32).find(|&id| self.get(id) == bytes),
        }
    }
}

/// GPT-2's alphabet: printable Latin-1 bytes stand for themselves, the others for the characters from U+0100 on, in
/// order.
pub(crate) fn alphabet() -> impl Iterator<Item = (u8, char)> {
    let prints = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut next = 0x100;
    (0..=255u8).map(move |byte| {
        if prints(byte) {
            return (byte, char::from(byte));
        }
        next += 1;
        (byte, char::from_u32(next - 1).expect("U+0100 to U+0143 are characters"))
    })
}

fn reversed_alphabet() -> HashMap<char, u8> {
    alphabet().map(|(byte, character)| (character, byte)).collect()
}

fn push_byte_level(blob: &mut Vec<u8>, token: &str, alphabet: &HashMap<char, u8>) {
    for character in token.chars() {
        match alphabet.get(&character) {
            Some(&byte) => blob.push(byte),
            // Not a word of this alphabet: the token can only mean its own text.
            None => blob.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

fn push_sentence_piece(blob: &mut Vec<u8>, token: &str) {
    let digits = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    if let Some(digits) = digits.filter(|digits| digits.len() == 2)
        && let Ok(byte) = u8::from_str_radix(digits, 16)
    {
        blob.push(byte);
        return;
    }
    blob.extend_from_slice(token.replace('▁', " ").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_is_gpt2s() {
        let map: HashMap<u8, char> = alphabet().collect();
        for (byte, character) in [(b' ', 'Ġ'), (b'\n', 'Ċ'), (b'\t', 'ĉ'), (b'a', 'a'), (0, 'Ā'), (0xad, 'Ń')]
        {
            assert_eq!(map[&byte], character, "{byte:#x}");
        }
        assert_eq!(reversed_alphabet().len(), 256);
    }

    #[test]
    fn tokens_give_their_bytes() {
        let tokens = [("Ġhé", false), ("Ã©", false), ("<|im_end|>", true), ("õ", true), ("õ", false)];
        let bytes = TokenBytes::new(tokens.into_iter(), Spelling::ByteLevel);
        assert_eq!(bytes.get(0), [b' ', b'h', 0xe9]);
        assert_eq!(bytes.get(1), "é".as_bytes());
        assert_eq!(bytes.get(2), b"<|im_end|>");
        assert_eq!(bytes.get(3), "õ".as_bytes(), "an added token is its text");
        assert_eq!(bytes.get(4), [0xf5]);
        assert_eq!(bytes.get(5), b"");
        assert_eq!(bytes.find("é".as_bytes()), Some(1));
        assert_eq!(bytes.find(&[0xf5]), Some(4));

        let tokens = [("▁the", false), ("<0x0A>", false), ("<0xZZ>", false), ("<0x0A>", true)];
        let bytes = TokenBytes::new(tokens.into_iter(), Spelling::SentencePiece);
        assert_eq!(bytes.get(0), b" the");
        assert_eq!(bytes.get(1), b"\n");
        assert_eq!(bytes.get(2), b"<0xZZ>");
        assert_eq!(bytes.get(3), b"<0x0A>");
    }
}
