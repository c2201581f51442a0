//! JSON as text: its parts as they are written, and as Python. Whole numbers of any size stay what they are,
//! which they would not as parsed values.

use serde::de::IgnoredAny;

/// How the keys of an object become those of a dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// As they are.
    Texts,
    /// Whole numbers, where all keys of the outermost object say one: JSON has only texts for keys.
    Numbers,
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
    check(json)?;
    let mut out = String::with_capacity(json.len());
    write(json, keys, &mut out)?;
    Ok(out)
}

/// A JSON string as text.
pub(super) fn text(json: &str) -> Result<String, String> {
    serde_json::from_str(json).map_err(|_| "it is no text".to_owned())
}

fn check(json: &str) -> Result<(), String> {
    // Bounds the nesting too.
    serde_json::from_str::<IgnoredAny>(json).map(|_| ()).map_err(|error| format!("not JSON: {error}"))
}

fn write(json: &str, keys: Keys, out: &mut String) -> Result<(), String> {
    let json = json.trim();
    match parts(json) {
        Some((b'[', parts)) => {
            out.push('[');
            for (at, part) in parts.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                write(part, Keys::Texts, out)?;
            }
            out.push(']');
        }
        Some((_, parts)) => {
            let names = parts.iter().step_by(2).map(|name| text(name)).collect::<Result<Vec<_>, _>>()?;
            let numbers = keys == Keys::Numbers && names.iter().all(|name| name.parse::<i64>().is_ok());
            out.push('{');
            for (at, (name, value)) in names.iter().zip(parts.iter().skip(1).step_by(2)).enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                out.push_str(&if numbers { name.clone() } else { quoted(name) });
                out.push_str(": ");
                write(value, Keys::Texts, out)?;
            }
            out.push('}');
        }
        None => out.push_str(&match json {
            "null" => "None".to_owned(),
            "true" => "True".to_owned(),
            "false" => "False".to_owned(),
            _ if json.starts_with('"') => quoted(&text(json)?),
            number => number.to_owned(),
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
            b'"' => {
                at += 1;
                while bytes.get(at).is_some_and(|byte| *byte != b'"') {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
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
        ] {
            assert_eq!(to_python(json, Keys::Texts).as_deref(), Ok(python), "{json}");
        }
        let keys = |json| to_python(json, Keys::Numbers).expect("JSON");
        assert_eq!(keys(r#"{"1": {"2": 3}, "-4": 5}"#), r#"{1: {"2": 3}, -4: 5}"#);
        assert_eq!(keys(r#"{"1": 2, "b": 3}"#), r#"{"1": 2, "b": 3}"#);
        for bad in ["", "[1", "[1,]", "nan", "{1: 2}", r#""\ud83d""#, &"[".repeat(1000)] {
            assert!(to_python(bad, Keys::Texts).is_err(), "{bad}");
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
