//! Files of records: one JSON object a line, or one JSON array of objects, plain or packed with gzip.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};

use super::json;

/// Most bytes that a file may have, unpacked.
pub(crate) const MAX_BYTES: u64 = 1 << 30;

/// Why a file holds no records. Nothing of it is used then.
#[derive(Debug)]
pub(crate) enum Unreadable {
    Io(io::Error),
    /// More than [`MAX_BYTES`].
    TooLarge,
    /// Line of the unpacked file, from 1, and what is wrong with it.
    Line(usize, String),
}

/// Reads all records, each with the line that it begins on. Packed files are told by their first bytes.
pub(crate) fn read(file: impl Read) -> Result<Vec<(usize, Record)>, Unreadable> {
    let bytes = unpacked(file).map_err(Unreadable::Io)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Unreadable::TooLarge);
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        Unreadable::Line(line_of(error.as_bytes(), valid), "the text is not UTF-8".to_owned())
    })?;
    values(text.strip_prefix('\u{feff}').unwrap_or(&text))
        .map_err(|(line, reason)| Unreadable::Line(line, reason))?
        .into_iter()
        .map(|(line, json, value)| match value {
            Value::Object(fields) => Ok((line, Record { fields, json: json.to_owned() })),
            other => {
                let reason = format!("a record is a JSON object, this is {}", kind(&other));
                Err(Unreadable::Line(line, reason))
            }
        })
        .collect()
}

/// The bytes of a file without gzip, and no more of them than are needed to see that they are too many.
fn unpacked(file: impl Read) -> io::Result<Vec<u8>> {
    let mut packed = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut packed)?;
    if !packed.starts_with(&[0x1f, 0x8b]) {
        return Ok(packed);
    }
    let mut bytes = Vec::new();
    MultiGzDecoder::new(packed.as_slice()).take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn line_of(text: &[u8], offset: usize) -> usize {
    1 + text[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

type Values<'a> = Result<Vec<(usize, &'a str, Value)>, (usize, String)>;

/// The JSON values of a file, with the lines that they begin on, and as they are written.
fn values(text: &str) -> Values<'_> {
    let standard = json::standard(text);
    if text.trim_start().starts_with('[') { array(text, &standard) } else { lines(text, &standard) }
}

/// What is wrong with a record; its own line numbers begin anew in each record and would mislead.
fn not_json(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]);
    format!("not JSON: {what}, at column {}", error.column())
}

/// `standard` is what [`json::standard`] makes of the text.
fn lines<'a>(text: &'a str, standard: &str) -> Values<'a> {
    text.lines()
        .zip(standard.lines())
        .enumerate()
        .filter(|(_, (line, _))| !line.trim().is_empty())
        .map(|(index, (line, standard))| match serde_json::from_str(standard) {
            Ok(value) => Ok((index + 1, line, value)),
            Err(error) => Err((index + 1, not_json(&error))),
        })
        .collect()
}

fn array<'a>(text: &'a str, standard: &str) -> Values<'a> {
    let mut records = Vec::new();
    let mut at = text.len() - text.trim_start().len() + 1;
    let expect = |at: usize, what: &str| (line_of(text.as_bytes(), at), format!("not JSON: expected {what}"));
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        if text[at..].starts_with(']') && records.is_empty() {
            at += 1;
            break;
        }
        let line = line_of(text.as_bytes(), at);
        let mut stream = serde_json::Deserializer::from_str(&standard[at..]).into_iter::<Value>();
        match stream.next() {
            Some(Ok(value)) => records.push((line, &text[at..at + stream.byte_offset()], value)),
            Some(Err(error)) => {
                return Err((line + error.line().saturating_sub(1), not_json(&error)));
            }
            None => return Err((line, "not JSON: the array is not closed".to_owned())),
        }
        at += stream.byte_offset();
        at += text[at..].len() - text[at..].trim_start().len();
        match text[at..].chars().next() {
            Some(',') => at += 1,
            Some(']') => {
                at += 1;
                break;
            }
            _ => return Err(expect(at, "`,` or `]`")),
        }
    }
    at += text[at..].len() - text[at..].trim_start().len();
    if at < text.len() {
        return Err(expect(at, "nothing after the array"));
    }
    Ok(records)
}

/// One object of a file; its accessors say which field is wrong.
pub(crate) struct Record {
    fields: Map<String, Value>,
    /// All of it, as it is written; empty where it was made of texts.
    json: String,
}

impl Record {
    /// A record whose fields are the contents of files.
    pub(crate) fn of_texts(texts: impl IntoIterator<Item = (String, String)>) -> Record {
        let fields = texts.into_iter().map(|(name, text)| (name, Value::String(text))).collect();
        Record { fields, json: "{}".to_owned() }
    }

    /// Whether the field is there and not null.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.fields.get(field).is_some_and(|value| !value.is_null())
    }

    pub(crate) fn text(&self, field: &str) -> Result<&str, String> {
        self.optional_text(field)?.ok_or_else(|| format!("the field `{field}` is missing"))
    }

    pub(crate) fn optional_text(&self, field: &str) -> Result<Option<&str>, String> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(format!("the field `{field}` is {}, not a string", kind(other))),
        }
    }

    /// A list of strings; an absent one is empty.
    pub(crate) fn texts(&self, field: &str) -> Result<Vec<&str>, String> {
        let wrong = || format!("the field `{field}` is not a list of strings");
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => items.iter().map(|item| item.as_str().ok_or_else(wrong)).collect(),
            Some(_) => Err(wrong()),
        }
    }

    /// An object; an absent one is none.
    pub(crate) fn object(&self, field: &str) -> Result<Option<&Map<String, Value>>, String> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(other) => Err(format!("the field `{field}` is {}, not an object", kind(other))),
        }
    }

    /// A field as it is written, where numbers have all their digits.
    pub(crate) fn raw(&self, field: &str) -> Result<Option<&str>, String> {
        let members = json::members(&self.json)?;
        Ok(members.into_iter().rfind(|(name, _)| name == field).map(|(_, value)| value))
    }

    /// A list; an absent one is empty.
    pub(crate) fn list(&self, field: &str) -> Result<&[Value], String> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(format!("the field `{field}` is {}, not a list", kind(other))),
        }
    }

    /// An identifier: a string that is not empty, or a whole number.
    pub(crate) fn id(&self, field: &str) -> Result<String, String> {
        match self.fields.get(field) {
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.clone()),
            Some(Value::Number(number)) if number.is_i64() || number.is_u64() => Ok(number.to_string()),
            Some(_) => Err(format!("the field `{field}` is neither a name nor a whole number")),
            None => Err(format!("the field `{field}` is missing")),
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
