//! JSON as text: its parts as they are written, and as Python. Whole numbers of any size stay what they are,
//! which they would not as parsed values, and so do the infinities and NaN that Python writes.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::IgnoredAny;

/// How the keys of an object become those of a dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// As they are.
    Texts,
    /// Whole numbers, where all keys of the outermost object say one: JSON has only texts for keys.
    Numbers,
}

/// What stands around the elements of some lists in Python.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Brackets {
    /// Which lists: the value itself has depth 1, what it holds 2.
    pub depths: Range<usize>,
    /// The opening and the closing one. A set that would be empty is a dictionary.
    pub around: [char; 2],
}

impl Brackets {
    /// Those of JSON.
    pub(super) const JSON: Brackets = Brackets { depths: 0..0, around: ['[', ']'] };
}

/// The same text with other numbers, of the same length, in the place of NaN and the infinities: Python writes them,
/// and JSON has no such thing.
pub(super) fn standard(json: &str) -> Cow<'_, str> {
    const OTHERS: [(&str, &str); 2] = [("NaN", "0.5"), ("Infinity", "0.5     ")];
    let mut standard = Cow::Borrowed(json);
    if !OTHERS.iter().any(|(name, _)| json.contains(name)) {
        return standard;
    }
    let bytes = json.as_bytes();
    let is_apart =
        |at: Option<usize>| !at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_alphanumeric);
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'"' {
            at = string_end(bytes, at);
        }
        for (name, other) in OTHERS {
            let end = at + name.len();
            if bytes[at..].starts_with(name.as_bytes()) && is_apart(at.checked_sub(1)) && is_apart(Some(end))
            {
                standard.to_mut().replace_range(at..end, other);
            }
        }
        at += 1;
    }
    standard
}

/// Where the string that begins at `at` has its closing quote; the end of the text where it has none.
fn string_end(json: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while json.get(at).is_some_and(|byte| *byte != b'"') {
        at += if json[at] == b'\\' { 2 } else { 1 };
    }
    at.min(json.len())
}

/// The elements of a list.
pub(super) fn elements(json: &str) -> Result<Vec<&str>, String> {
    check(json)?;
    match parts(json) {
        Some((b'[', parts)) => Ok(parts),
        _ => Err("it is no list".to_owned()),
    }
}

/// The names and values of an object, in their order.
pub(super) fn members(json: &str) -> Result<Vec<(String, &str)>, String> {
    check(json)?;
    match parts(json) {
        Some((b'{', parts)) => parts.chunks_exact(2).map(|pair| Ok((text(pair[0])?, pair[1]))).collect(),
        _ => Err("it is no object".to_owned()),
    }
}

/// The value as a Python literal.
pub(super) fn to_python(json: &str, keys: Keys) -> Result<String, String> {
    with_brackets(json, keys, &Brackets::JSON)
}

/// The value as a Python literal, with other brackets around some of its lists.
pub(super) fn with_brackets(json: &str, keys: Keys, brackets: &Brackets) -> Result<String, String> {
    check(json)?;
    let mut out = String::with_capacity(json.len());
    write(json, keys, brackets, 1, &mut out)?;
    Ok(out)
}

/// A JSON string as text.
pub(super) fn text(json: &str) -> Result<String, String> {
    serde_json::from_str(json).map_err(|_| "it is no text".to_owned())
}

fn check(json: &str) -> Result<(), String> {
    // Bounds the nesting too.
    serde_json::from_str::<IgnoredAny>(&standard(json))
        .map(|_| ())
        .map_err(|error| format!("not JSON: {error}"))
}

fn write(json: &str, keys: Keys, brackets: &Brackets, depth: usize, out: &mut String) -> Result<(), String> {
    let json = json.trim();
    match parts(json) {
        Some((b'[', parts)) => {
            let [open, close] = if brackets.depths.contains(&depth) { brackets.around } else { ['[', ']'] };
            out.push(open);
            for (at, part) in parts.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                write(part, Keys::Texts, brackets, depth + 1, out)?;
            }
            out.push_str(if open == '(' && parts.len() == 1 { "," } else { "" });
            out.push(close);
        }
        Some((_, parts)) => {
            let names = parts.iter().step_by(2).map(|name| text(name)).collect::<Result<Vec<_>, _>>()?;
            let numbers = keys == Keys::Numbers && names.iter().all(|name| name.parse::<i64>().is_ok());
            out.push('{');
            for (at, (name, value)) in names.iter().zip(parts.iter().skip(1).step_by(2)).enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                out.push_str(&if numbers { name.clone() } else { quoted(name) });
                out.push_str(": ");
                write(value, Keys::Texts, brackets, depth + 1, out)?;
            }
            out.push('}');
        }
        None => out.push_str(&match json {
            "null" => "None".to_owned(),
            "true" => "True".to_owned(),
            "false" => "False".to_owned(),
            _ if json.starts_with('"') => quoted(&text(json)?),
            number => number.replace("Infinity", "1e309").replace("NaN", "float(\"nan\")"),
        }),
    }
    Ok(())
}

/// A text as Python's literal. JSON's own is one, once no character is written as two halves.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The parts between the brackets of a valid list or object (names and values in turn), and the bracket.
fn parts(json: &str) -> Option<(u8, Vec<&str>)> {
    let json = json.trim();
    let bytes = json.as_bytes();
    let open = *bytes.first().filter(|byte| matches!(byte, b'[' | b'{'))?;
    let mut found = Vec::new();
    let (mut depth, mut at, mut start) = (0usize, 0, 1);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = string_end(bytes, at),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let is_end = depth == 0 && at > 0 && at + 1 == bytes.len();
        if is_end || depth == 1 && matches!(bytes.get(at), Some(b',' | b':')) {
            let part = json.get(start..at)?.trim();
            if !(is_end && part.is_empty()) {
                found.push(part);
            }
            start = at + 1;
        }
        at += 1;
    }
    Some((open, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_python() {
        for (json, python) in [
            ("null", "None"),
            (" [true, false,null ] ", "[True, False, None]"),
            ("[]", "[]"),
            ("{ }", "{}"),
            ("[[], {}]", "[[], {}]"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("[1.50, -2e5]", "[1.50, -2e5]"),
            (r#""a\"],b\u00e9\ud83d\ude00\/\n""#, "\"a\\\"],bé😀/\\n\""),
            (r#"{"a": {"1": [1, {"b": 2}]}}"#, r#"{"a": {"1": [1, {"b": 2}]}}"#),
            (r#"[NaN, -Infinity,Infinity, "NaN\", NaN"]"#, r#"[float("nan"), -1e309, 1e309, "NaN\", NaN"]"#),
        ] {
            assert_eq!(to_python(json, Keys::Texts).as_deref(), Ok(python), "{json}");
        }
        let keys = |json| to_python(json, Keys::Numbers).expect("JSON");
        assert_eq!(keys(r#"{"1": {"2": 3}, "-4": 5}"#), r#"{1: {"2": 3}, -4: 5}"#);
        assert_eq!(keys(r#"{"1": 2, "b": 3}"#), r#"{"1": 2, "b": 3}"#);
        for bad in [
            "",
            "[1",
            "[1,]",
            "nan",
            "[1NaN]",
            "[NaN1]",
            "Infinit",
            "{1: 2}",
            r#""\ud83d""#,
            &"[".repeat(1000),
        ] {
            assert!(to_python(bad, Keys::Texts).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_become_tuples_and_sets() {
        let json = r#"[[1], [], {"a": [2, [3]]}, "[4]"]"#;
        for (depths, around, python) in [
            (0..0, ['(', ')'], r#"[[1], [], {"a": [2, [3]]}, "[4]"]"#),
            (1..2, ['(', ')'], r#"([1], [], {"a": [2, [3]]}, "[4]")"#),
            (2..3, ['(', ')'], r#"[(1,), (), {"a": [2, [3]]}, "[4]"]"#),
            (3..9, ['(', ')'], r#"[[1], [], {"a": (2, (3,))}, "[4]"]"#),
            (2..3, ['{', '}'], r#"[{1}, {}, {"a": [2, [3]]}, "[4]"]"#),
        ] {
            let brackets = Brackets { depths, around };
            assert_eq!(with_brackets(json, Keys::Texts, &brackets).as_deref(), Ok(python), "{brackets:?}");
        }
    }

    #[test]
    fn parts_keep_their_text() {
        assert_eq!(
            elements(r#"[ 1 ,"a,]", [2,3] ,{"b":4}]"#),
            Ok(vec!["1", r#""a,]""#, "[2,3]", r#"{"b":4}"#])
        );
        assert_eq!(elements("[]"), Ok(vec![]));
        assert_eq!(
            members(r#"{"a:": 1.0, "b" :{"c":"}"}}"#),
            Ok(vec![("a:".to_owned(), "1.0"), ("b".to_owned(), r#"{"c":"}"}"#),])
        );
        assert!(elements("{}").is_err() && members("[]").is_err() && elements("\"[]\"").is_err());
    }
}
