//! Text from tokens as they come, never half a character.

/// Turns the bytes of successive tokens into text. A character that is spread over several tokens appears when its
/// last byte is there; bytes that can never become a character turn into U+FFFD.
#[derive(Debug, Clone, Default)]
pub struct StreamDecoder {
    pending: Vec<u8>,
}

impl StreamDecoder {
    /// A decoder with nothing pending.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the bytes of the next token and gives the text that is now certain.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        let mut used = 0;
        loop {
            let rest = &self.pending[used..];
            let error = match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    used = self.pending.len();
                    break;
                }
                Err(error) => error,
            };
            let (valid, _) = rest.split_at(error.valid_up_to());
            text.push_str(&String::from_utf8_lossy(valid));
            used += error.valid_up_to();
            match error.error_len() {
                Some(length) => {
                    text.push(char::REPLACEMENT_CHARACTER);
                    used += length;
                }
                // The beginning of a character: the next token may complete it.
                None => break,
            }
        }
        self.pending.drain(..used);
        text
    }

    /// Gives what is left when no more tokens come: nothing, or U+FFFD for an unfinished character.
    pub fn finish(&mut self) -> String {
        let rest = std::mem::take(&mut self.pending);
        String::from_utf8_lossy(&rest).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_come_whole() {
        let mut decoder = StreamDecoder::new();
        let party = "a🎉b".as_bytes();
        assert_eq!(decoder.push(&party[..2]), "a");
        assert_eq!(decoder.push(&party[2..4]), "");
        assert_eq!(decoder.push(&party[4..]), "🎉b");
        assert_eq!(decoder.finish(), "");
    }

    #[test]
    fn what_cannot_be_a_character_does_not_hold_up_the_rest() {
        let mut decoder = StreamDecoder::new();
        assert_eq!(decoder.push(&[0xff, b'a', 0xe2, 0x82]), "\u{fffd}a");
        assert_eq!(decoder.push(b"b"), "\u{fffd}b");
        assert_eq!(decoder.push(&[0xe2, 0x82]), "");
        assert_eq!(decoder.finish(), "\u{fffd}");
    }

    #[test]
    fn any_cut_gives_the_lossy_text() {
        let bytes: Vec<u8> =
            [&b"x\xf0\x9f\x8e"[..], "é\u{10ffff}".as_bytes(), &[0xc0, 0x80, 0xed, 0xa0, 0x80]].concat();
        for cut in 0..=bytes.len() {
            let mut decoder = StreamDecoder::new();
            let text = decoder.push(&bytes[..cut]) + &decoder.push(&bytes[cut..]) + &decoder.finish();
            assert_eq!(text, String::from_utf8_lossy(&bytes), "cut at {cut}");
        }
    }
}
