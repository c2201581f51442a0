//! LiveCodeBench's private tests: a text, pickled by Python, packed with zlib, written in base 64.
//!
//! A pickle is a program, and unpickling one runs it. So none is run here: the few instructions that a pickled
//! text is made of are recognised, and everything else is refused.

use std::io::Read;

use flate2::read::ZlibDecoder;

/// Most bytes that a task's tests may have, unpacked.
const MAX_BYTES: u64 = 256 << 20;

/// The text in `packed`.
pub(super) fn unpacked(packed: &str) -> Result<String, String> {
    let bytes = base64(packed)?;
    let mut pickle = Vec::new();
    let mut decoder = ZlibDecoder::new(bytes.as_slice()).take(MAX_BYTES + 1);
    decoder.read_to_end(&mut pickle).map_err(|error| format!("it is not packed with zlib: {error}"))?;
    if pickle.len() as u64 > MAX_BYTES {
        return Err(format!("it is larger than {} MiB unpacked", MAX_BYTES >> 20));
    }
    pickled_text(&pickle)
}

/// Standard base 64, with or without the signs that fill the last group; spaces between are passed over.
fn base64(text: &str) -> Result<Vec<u8>, String> {
    let digits = text.trim_end().trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for (at, byte) in digits.bytes().enumerate().filter(|(_, byte)| !byte.is_ascii_whitespace()) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(format!("byte {at} is no base 64")),
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    if count >= 6 || bits != 0 {
        return Err("its base 64 is cut off".to_owned());
    }
    Ok(bytes)
}

/// The text that a pickle of nothing but one text holds, of protocol 1 to 5.
fn pickled_text(pickle: &[u8]) -> Result<String, String> {
    let mut reader = Reader { bytes: pickle, at: 0 };
    let mut text = None;
    loop {
        let at = reader.at;
        match reader.take(1)?[0] {
            // PROTO
            0x80 if at == 0 => {
                let version = reader.number(1)?;
                if !(2..=5).contains(&version) {
                    return Err(format!("a pickle of protocol {version}; known are 1 to 5"));
                }
            }
            // FRAME
            0x95 => {
                reader.number(8)?;
            }
            // BINUNICODE, SHORT_BINUNICODE, BINUNICODE8
            code @ (b'X' | 0x8c | 0x8d) if text.is_none() => {
                let width = match code {
                    b'X' => 4,
                    0x8c => 1,
                    _ => 8,
                };
                let length = reader.number(width)?;
                let bytes = reader.take(length)?;
                let found =
                    std::str::from_utf8(bytes).map_err(|_| "its pickled text is not UTF-8".to_owned())?;
                text = Some(found);
            }
            // MEMOIZE, BINPUT, LONG_BINPUT
            0x94 if text.is_some() => {}
            b'q' if text.is_some() => {
                reader.number(1)?;
            }
            b'r' if text.is_some() => {
                reader.number(4)?;
            }
            // STOP
            b'.' => {
                let rest = pickle.len() - reader.at;
                return match text {
                    Some(_) if rest > 0 => Err(format!("{rest} bytes follow its pickle")),
                    Some(text) => Ok(text.to_owned()),
                    None => Err("its pickle holds no text".to_owned()),
                };
            }
            code => {
                return Err(format!(
                    "its pickle holds more than one text (instruction {code:#04x} at byte {at}); it is not run"
                ));
            }
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: u64) -> Result<&'a [u8], String> {
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        let found = end.and_then(|end| self.bytes.get(self.at..end));
        let found = found.ok_or_else(|| "its pickle is cut off".to_owned())?;
        self.at += found.len();
        Ok(found)
    }

    /// A number of `width` bytes, the lowest first.
    fn number(&mut self, width: u64) -> Result<u64, String> {
        Ok(self.take(width)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use proptest::prelude::*;

    use super::*;

    fn written(bytes: &[u8]) -> String {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for group in bytes.chunks(3) {
            let bits =
                group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
            for at in 0..4 {
                let digit = DIGITS[(bits >> (18 - 6 * at)) as usize & 63] as char;
                text.push(if at <= group.len() { digit } else { '=' });
            }
        }
        text
    }

    fn packed(pickle: &[u8]) -> String {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(pickle).expect("memory");
        written(&encoder.finish().expect("memory"))
    }

    /// What `pickle.dumps(text, protocol)` of CPython gives, for texts of fewer than 256 bytes.
    fn pickle_of(text: &str, protocol: u8) -> Vec<u8> {
        let short = [&[0x8c, text.len() as u8][..], text.as_bytes(), &[0x94]].concat();
        let long = [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes(), b"q\x00"].concat();
        let body = if protocol >= 4 { short } else { long };
        let mut pickle = if protocol >= 2 { vec![0x80, protocol] } else { Vec::new() };
        if protocol >= 4 {
            pickle.push(0x95);
            pickle.extend((body.len() as u64 + 1).to_le_bytes());
        }
        pickle.extend(body);
        pickle.push(b'.');
        pickle
    }

    #[test]
    fn a_text_comes_out_whatever_the_protocol() {
        for protocol in 1..=5 {
            for text in ["", "[]", "[{\"input\": \"é\"}]"] {
                assert_eq!(unpacked(&packed(&pickle_of(text, protocol))).as_deref(), Ok(text), "{protocol}");
            }
        }
        // Longer texts stand outside of frames.
        let long = "x".repeat(70_000);
        let pickle = [b"\x80\x04X", &70_000u32.to_le_bytes()[..], long.as_bytes(), b"\x94."].concat();
        assert_eq!(unpacked(&packed(&pickle)), Ok(long));
    }

    #[test]
    fn everything_else_is_refused() {
        let text = pickle_of("[]", 2);
        for (pickle, reason) in [
            // os.system('true'), as protocol 0 and 4 write it
            (&b"cos\nsystem\n(S'true'\ntR."[..], "instruction 0x63 at byte 0"),
            (b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93.", "instruction 0x8c at byte 7"),
            (b"\x80\x02X\x02\x00\x00\x00[]q\x00cos\nsystem\nq\x01.", "instruction 0x63"),
            (b"\x80\x04]\x94.", "instruction 0x5d"),
            (b"\x80\x04N.", "instruction 0x4e"),
            (b"\x80\x04.", "holds no text"),
            (b"\x80\x09.", "protocol 9"),
            (b"\x80\x04\x8c\x09[]", "cut off"),
            (b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff[]", "cut off"),
            (b"\x80\x02X\x01\x00\x00\x00\xffq\x00.", "not UTF-8"),
            (&[&text[..], b"N."].concat(), "2 bytes follow"),
            (&text[..text.len() - 1], "cut off"),
            (b"", "cut off"),
        ] {
            let refused = unpacked(&packed(pickle)).expect_err("it is no pickled text");
            assert!(refused.contains(reason), "{refused}");
        }
        for (bytes, reason) in
            [("not base 64!", "no base 64"), ("AAAA", "not packed with zlib"), ("A", "cut off")]
        {
            assert!(unpacked(bytes).expect_err("garbage").contains(reason), "{bytes}");
        }
    }

    proptest! {
        /// Whatever stands in a pickle, nothing happens but that it is read or refused.
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, text in "[a-z\\[\\]{}\":,]{0,50}", cut in 0usize..100) {
            let _ = pickled_text(&bytes);
            let mut pickle = pickle_of(&text, 4);
            prop_assert_eq!(pickled_text(&pickle), Ok(text));
            pickle.truncate(cut.min(pickle.len() - 1));
            prop_assert!(pickled_text(&pickle).is_err());
        }

        #[test]
        fn base64_is_undone(bytes: Vec<u8>) {
            prop_assert_eq!(base64(&written(&bytes)), Ok(bytes));
        }
    }
}
