//! Tests from the examples in a docstring.
//!
//! An example is taken where both sides are certain: a call of the entry point whose arguments are literals,
//! and a literal that it should return. The notations are those of HumanEval's docstrings:
//!
//! - `>>> f(1)` with the value on the next line (no value: `None`), also `>>> round(f(1), 2)`;
//! - `f(1) == 2`, with `=`, `=>`, `==>`, `->`, `➞`, `→`, `returns`, `should return`, after `#` or without;
//!   of `f(1) == 1 + 1 = 2` the last value counts;
//! - `For x = 1, y = 2 the output should be 3`;
//! - `Input: x = 1, y = 2` and `Output: 3`, on one line or several.

use super::Test;
use super::expression::{call, calls_of, is_name, literal, nested_call, spelled};

/// Signs and words between a call and its value; longer ones first.
const ARROWS: [&str; 11] =
    ["==>", "=>", "==", "->", "➞", "→", "=", "should return", "should be", "returns", "return"];

/// The tests that the docstring of `entry_point` in `prompt` gives, in its order, each once.
pub(super) fn from_docstring(prompt: &str, entry_point: &str) -> Vec<Test> {
    let Some((parameters, docstring)) = signature_and_docstring(prompt, entry_point) else {
        return Vec::new();
    };
    let mut found: Vec<(usize, Test)> = Vec::new();
    found.extend(doctests(docstring, entry_point));
    found.extend(equations(docstring, entry_point));
    found.extend(sentences(docstring, entry_point, parameters));
    found.extend(inputs_and_outputs(docstring, entry_point, parameters));
    found.sort_by_key(|(at, _)| *at);
    let mut tests: Vec<Test> = Vec::new();
    for (_, test) in found {
        if !tests.contains(&test) {
            tests.push(test);
        }
    }
    tests
}

fn test(call: &str, expected: &str) -> Test {
    let expected = spelled(expected);
    Test {
        source: format!("assert {call} == {expected}"),
        call: Some(call.to_owned()),
        expected: Some(expected.to_owned()),
        script: None,
    }
}

/// The number of parameters of the last function of that name, and the first long string after its header.
fn signature_and_docstring<'a>(prompt: &'a str, entry_point: &str) -> Option<(usize, &'a str)> {
    let header = prompt.rfind(&format!("def {entry_point}("))?;
    let from = &prompt[header..];
    let open = from.find('(')?;
    let (mut depth, mut commas, mut is_empty) = (0usize, 0, true);
    for c in from[open..].chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 1 => commas += 1,
            c if !c.is_whitespace() => is_empty = false,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    let parameters = if is_empty { 0 } else { commas + 1 };
    let (at, quotes) = ["\"\"\"", "'''"]
        .into_iter()
        .filter_map(|quotes| from.find(quotes).map(|at| (at, quotes)))
        .min_by_key(|(at, _)| *at)?;
    let text = &from[at + 3..];
    Some((parameters, &text[..text.find(quotes).unwrap_or(text.len())]))
}

/// Each line of `text` with its offset.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_inclusive('\n').scan(0, |at, line| {
        let start = *at;
        *at += line.len();
        Some((start, line.trim_end_matches('\n')))
    })
}

fn is_comment_or_end(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || text.starts_with('#')
}

fn doctests(docstring: &str, entry_point: &str) -> Vec<(usize, Test)> {
    let mut found = Vec::new();
    for (start, line) in lines(docstring) {
        let Some(expression) = line.trim_start().strip_prefix(">>>").map(str::trim_start) else { continue };
        let Some(len) = nested_call(expression) else { continue };
        let call = &expression[..len];
        if !is_comment_or_end(&expression[len..]) || calls_of(call, entry_point).next().is_none() {
            continue;
        }
        let output = docstring.get(start + line.len() + 1..).unwrap_or("");
        let first = output.lines().next().unwrap_or("").trim();
        if first.is_empty() || first.starts_with(">>>") {
            found.push((start, test(call, "None")));
            continue;
        }
        let output = output.trim_start();
        if let Some(len) = literal(output)
            && output[len..].lines().next().is_none_or(|rest| rest.trim().is_empty())
        {
            found.push((start, test(call, &output[..len])));
        }
    }
    found
}

fn equations(docstring: &str, entry_point: &str) -> Vec<(usize, Test)> {
    let mut found = Vec::new();
    for at in calls_of(docstring, entry_point) {
        let text = &docstring[at..];
        let Some(len) = call(text) else { continue };
        let rest = text[len..].trim_start_matches([' ', '\t']);
        let rest = rest.strip_prefix('#').unwrap_or(rest).trim_start_matches(' ');
        let Some(value) = ARROWS.iter().find_map(|arrow| rest.strip_prefix(arrow)) else { continue };
        if let Some(expected) = value_of(value.trim_start_matches(' ')) {
            found.push((at, test(&text[..len], expected)));
        }
    }
    found
}

/// The literal that `text` begins with, when nothing but a remark follows it on its line; or the one after the
/// last `=` of the line, when what is before is arithmetic.
fn value_of(text: &str) -> Option<&str> {
    let line_end = |len: usize| text[len..].find('\n').map_or(text.len(), |at| len + at);
    let first = literal(without_stop(text));
    if let Some(len) = first
        && is_remark(&text[len..line_end(len)])
    {
        return Some(&text[..len]);
    }
    let line = &text[..line_end(0)];
    let (sum, value) = line.rsplit_once('=')?;
    let value = without_stop(value.trim());
    let arithmetic = sum.chars().all(|c| c.is_ascii_digit() || " +-*/().".contains(c));
    (arithmetic && literal(value) == Some(value.len())).then_some(value)
}

/// `text` up to the full stop that ends its first line, where one does: `16.` is then the number 16.
fn without_stop(text: &str) -> &str {
    let line = text.split('\n').next().unwrap_or("").trim_end();
    match line.strip_suffix('.') {
        Some(sentence) if literal(sentence) == Some(sentence.len()) => sentence,
        _ => text,
    }
}

fn is_remark(rest: &str) -> bool {
    let rest = rest.trim();
    rest.is_empty() || rest == "." || rest.starts_with('#') || rest.starts_with('(')
}

/// `For x = 1, y = 2 the output should be 3.`
fn sentences(docstring: &str, entry_point: &str, parameters: usize) -> Vec<(usize, Test)> {
    let mut found = Vec::new();
    for (start, line) in lines(docstring) {
        let Some(text) = line.trim_start().strip_prefix("For ") else { continue };
        let Some((given, value)) =
            ["the output should be", "the result should be"].iter().find_map(|words| text.split_once(words))
        else {
            continue;
        };
        if let Some((arguments, _)) = arguments(given, parameters)
            && let Some(expected) = value_of(value.trim_start())
        {
            found.push((start, test(&format!("{entry_point}({arguments})"), expected)));
        }
    }
    found
}

/// `Input: x = 1` … `Output: 2`
fn inputs_and_outputs(docstring: &str, entry_point: &str, parameters: usize) -> Vec<(usize, Test)> {
    let mut found = Vec::new();
    for (at, _) in docstring.match_indices("Input:") {
        let text = &docstring[at + "Input:".len()..];
        let Some((given, value)) = text.split_once("Output:") else { continue };
        if let Some((arguments, rest)) = arguments(given, parameters)
            && rest.trim().is_empty()
            && let Some(expected) = value_of(value.trim_start())
        {
            found.push((at, test(&format!("{entry_point}({arguments})"), expected)));
        }
    }
    found
}

/// The values in `x = 1, y = 2`, `1, 2` or one a line, as arguments, when there are `count` of them; with what
/// follows the last.
fn arguments(text: &str, count: usize) -> Option<(String, &str)> {
    let mut rest = text.trim_start();
    let mut values: Vec<&str> = Vec::new();
    while values.len() < count {
        if let Some((name, value)) = rest.split_once(['=', ':'])
            && is_name(name.trim())
        {
            rest = value.trim_start();
        }
        let len = literal(rest)?;
        values.push(&rest[..len]);
        rest = rest[len..].trim_start_matches([',', ' ', '\n', '\t']);
    }
    (count > 0).then(|| (values.join(", "), rest))
}
