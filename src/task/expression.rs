//! Just enough of Python's expressions to read tests: literals, calls with literal arguments, `assert a == b`.

/// Deepest nesting that is followed.
const MAX_DEPTH: usize = 64;

/// Length in bytes of the literal that `text` begins with: a number, string, list, tuple, set, dictionary,
/// `None`, `True`, `False` (or `true`, `false`, as docstrings write them).
pub(super) fn literal(text: &str) -> Option<usize> {
    let mut scan = Scan { bytes: text.as_bytes(), at: 0, calls: false };
    scan.value(0)?;
    Some(scan.at)
}

/// Length in bytes of the call that `text` begins with: any name, with literals for arguments.
pub(super) fn call(text: &str) -> Option<usize> {
    let mut scan = Scan { bytes: text.as_bytes(), at: 0, calls: false };
    scan.call(0)?;
    Some(scan.at)
}

/// [`call`], with calls among the arguments too.
pub(super) fn nested_call(text: &str) -> Option<usize> {
    let mut scan = Scan { bytes: text.as_bytes(), at: 0, calls: true };
    scan.call(0)?;
    Some(scan.at)
}

/// The literal in Python's own spelling.
pub(super) fn spelled(literal: &str) -> &str {
    match literal {
        "true" => "True",
        "false" => "False",
        other => other,
    }
}

/// Whether `text` is a name that a function can have.
pub(super) fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c == '_' || c.is_alphabetic())
        && chars.all(|c| c == '_' || c.is_alphanumeric())
}

/// Byte offsets at which a call of `name` begins in `text`.
pub(super) fn calls_of<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(name).map(|(at, _)| at).filter(move |&at| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].trim_start_matches(' ');
        after.starts_with('(') && !before.is_some_and(|c| c == '_' || c == '.' || c.is_alphanumeric())
    })
}

/// The two sides of `assert left == right`, where that is all that the statement says (a message may follow).
pub(super) fn equality(statement: &str) -> Option<(&str, &str)> {
    let body = statement.trim().strip_prefix("assert")?;
    if !body.starts_with([' ', '(']) {
        return None;
    }
    let mut scan = Scan { bytes: body.as_bytes(), at: 0, calls: false };
    let (mut depth, mut middle, mut end) = (0usize, None, body.len());
    while let Some(byte) = scan.peek() {
        match byte {
            b'"' | b'\'' => {
                scan.string()?;
                continue;
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.checked_sub(1)?,
            _ if depth > 0 => {}
            b'=' if body[scan.at..].starts_with("==") && middle.is_none() => {
                middle = Some(scan.at);
                scan.at += 1;
            }
            b',' => {
                end = scan.at;
                break;
            }
            b'=' | b'<' | b'>' | b'!' | b'\n' | b';' | b'#' | b'\\' => return None,
            _ if byte.is_ascii_alphabetic() => {
                let word = scan.word();
                if ["and", "or", "not", "in", "is", "if", "else", "lambda", "await"].contains(&word) {
                    return None;
                }
                continue;
            }
            _ => {}
        }
        scan.at += 1;
    }
    let middle = middle?;
    let (left, right) = (body[..middle].trim(), body[middle + 2..end].trim());
    (depth == 0 && !left.is_empty() && !right.is_empty()).then_some((left, right))
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Calls are values.
    calls: bool,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// The ASCII word at hand; may be empty.
    fn word(&mut self) -> &'a str {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte == b'_' || byte.is_ascii_alphanumeric()) {
            self.at += 1;
        }
        std::str::from_utf8(&self.bytes[start..self.at]).unwrap_or("")
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match self.peek()? {
            b'[' => self.items(b']', depth),
            b'(' => self.items(b')', depth),
            b'{' => self.items(b'}', depth),
            b'"' | b'\'' => self.string(),
            b'-' | b'+' => {
                self.at += 1;
                self.number()
            }
            b'0'..=b'9' | b'.' => self.number(),
            _ => self.named(depth),
        }
    }

    /// `None`, `True`, `False`, a string with a prefix, or a call.
    fn named(&mut self, depth: usize) -> Option<()> {
        let start = self.at;
        let word = self.word();
        match self.peek() {
            Some(b'"' | b'\'')
                if ["r", "b", "u", "rb", "br"].contains(&word.to_ascii_lowercase().as_str()) =>
            {
                self.string()
            }
            _ if ["None", "True", "False", "true", "false"].contains(&word) => Some(()),
            _ if self.calls => {
                self.at = start;
                self.call(depth)
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<()> {
        let start = self.at;
        let digits = |scan: &mut Self| {
            let start = scan.at;
            while scan.peek().is_some_and(|byte| byte == b'_' || byte.is_ascii_digit()) {
                scan.at += 1;
            }
            scan.at > start
        };
        let hex = self.peek() == Some(b'0') && matches!(self.bytes.get(self.at + 1), Some(b'x' | b'X'));
        if hex {
            self.at += 2;
            self.word();
            return (self.at > start + 2).then_some(());
        }
        let whole = digits(self);
        let fraction = self.eat(b'.').is_some() && digits(self);
        if !whole && !fraction {
            return None;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            digits(self).then_some(())?;
        }
        if matches!(self.peek(), Some(b'j' | b'J')) {
            self.at += 1;
        }
        (!self.peek().is_some_and(|byte| byte == b'_' || byte.is_ascii_alphanumeric())).then_some(())
    }

    fn string(&mut self) -> Option<()> {
        let quote = self.peek()?;
        let triple = self.bytes[self.at..].starts_with(&[quote; 3]);
        let end = if triple { 3 } else { 1 };
        self.at += end;
        loop {
            match self.peek()? {
                b'\\' => self.at += 2,
                b'\n' if !triple => return None,
                byte if byte == quote && self.bytes[self.at..].starts_with(&[quote; 3][..end]) => {
                    self.at += end;
                    return Some(());
                }
                _ => self.at += 1,
            }
        }
    }

    /// The values between brackets, with keys or without.
    fn items(&mut self, close: u8, depth: usize) -> Option<()> {
        self.at += 1;
        loop {
            self.space();
            if self.eat(close).is_some() {
                return Some(());
            }
            self.value(depth + 1)?;
            self.space();
            if close == b'}' && self.eat(b':').is_some() {
                self.space();
                self.value(depth + 1)?;
                self.space();
            }
            if self.eat(b',').is_none() {
                return self.eat(close);
            }
        }
    }

    fn call(&mut self, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH || !is_name(self.word()) {
            return None;
        }
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
        self.eat(b'(')?;
        loop {
            self.space();
            if self.eat(b')').is_some() {
                return Some(());
            }
            let start = self.at;
            let keyword = is_name(self.word()) && {
                self.space();
                self.peek() == Some(b'=') && self.bytes.get(self.at + 1) != Some(&b'=')
            };
            if keyword {
                self.at += 1;
                self.space();
            } else {
                self.at = start;
            }
            self.value(depth + 1)?;
            self.space();
            if self.eat(b',').is_none() {
                return self.eat(b')');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_end_where_they_end() {
        let texts = [
            ("[1, (2,), {'a': -3.5e2}] rest", 24),
            ("'it\\'s' == x", 7),
            ("(\"Venus\")", 9),
            ("None", 4),
            ("{1, 2}", 6),
            ("[[1,\n  2], []]", 14),
            ("true,", 4),
        ];
        for (text, len) in texts {
            assert_eq!(literal(text), Some(len), "{text}");
        }
        for text in ["x", "[1, x]", "[1", "'a", "-", "1a", "f(1)", "{1: }"] {
            assert_eq!(literal(text), None, "{text}");
        }
    }

    #[test]
    fn calls_have_literal_arguments() {
        assert_eq!(call("f([1, 2], k=3) == 4"), Some(14));
        assert_eq!(call("f (1)"), Some(5));
        assert_eq!(call("f(n - 1)"), None);
        assert_eq!(call("round(f(1), 2)"), None);
        assert_eq!(nested_call("round(f(1), 2) # x"), Some(14));
    }

    #[test]
    fn equalities_are_split_at_their_only_comparison() {
        assert_eq!(equality("assert f('==') == [1, 2]"), Some(("f('==')", "[1, 2]")));
        assert_eq!(equality("assert f(1)==2, 'why'"), Some(("f(1)", "2")));
        for statement in [
            "assert f(1)",
            "assert f(1) == 2 and g()",
            "assert f(1) == g() == 2",
            "f(1) == 2",
            "assert not f(1) == 2",
        ] {
            assert_eq!(equality(statement), None, "{statement}");
        }
    }
}
