//! Which names a prefix defines at its top level.

use super::lexer::Lexer;
use super::line::{Head, LogicalLine};

/// Whether `source`, which may stop anywhere, defines `name` at its top level: `def`, `async def`, `class`
/// (decorated or not) or an assignment. A definition counts from its name on, before its body is there.
/// What stands in `if`, `for`, `try` … does not count: it may not run.
///
/// ```
/// # use vigor::syntax::defines;
/// assert!(defines("import math\n\ndef area(", "area"));
/// assert!(!defines("class A:\n    def area(self): pass\n", "area"));
/// ```
pub fn defines(source: &str, name: &str) -> bool {
    let mut lexer = Lexer::new();
    lexer.feed(source);
    lexer.lines().iter().filter(|line| line.indent.columns == 0).any(|line| line_defines(line, source, name))
}

fn line_defines(line: &LogicalLine, source: &str, name: &str) -> bool {
    let Some(text) = source.get(line.text_start..line.end) else { return false };
    match line.head {
        Head::Def | Head::Class => {
            let mut words = text.split(|c: char| !is_word(c)).filter(|word| !word.is_empty());
            let keyword = words.next();
            if keyword == Some("async") {
                words.next();
            }
            words.next() == Some(name)
        }
        Head::Plain | Head::Match | Head::Case => text.split(';').any(|part| assigns(part, name)),
        _ => false,
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Whether a simple statement assigns to `name`: `name = …`, `name: T = …`, `a, name = …`, `a = name = …`.
fn assigns(statement: &str, name: &str) -> bool {
    let (mut depth, mut start) = (0usize, 0);
    let bytes = statement.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            // Targets hold no strings and no comments, but for subscripts, which define nothing.
            b'"' | b'\'' | b'#' if depth == 0 => return false,
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'=' if depth == 0 => {
                let before = at.checked_sub(1).map(|at| bytes[at]);
                let compares = bytes.get(at + 1) == Some(&b'=')
                    || before.is_some_and(|b| b"=<>!+-*/%&|^@:".contains(&b));
                if compares {
                    return false;
                }
                if is_target(&statement[start..at], name) {
                    return true;
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    false
}

/// Whether `name` is one of the names in a target: not an attribute, not a subscript, not an annotation.
fn is_target(target: &str, name: &str) -> bool {
    // Of each open bracket, whether it groups targets; after a name or a bracket it is a subscript or a call.
    let mut groups: Vec<bool> = Vec::new();
    let mut before: Option<char> = None;
    let mut rest = target;
    while let Some(c) = rest.chars().next() {
        let len = if is_word(c) { rest.find(|c| !is_word(c)).unwrap_or(rest.len()) } else { c.len_utf8() };
        let (token, after) = rest.split_at(len);
        let next = after.trim_start().chars().next();
        match c {
            '(' | '[' => groups.push(!before.is_some_and(|c| is_word(c) || c == ')' || c == ']')),
            ')' | ']' => drop(groups.pop()),
            ':' if groups.is_empty() => return false,
            _ if token == name => {
                let begins = before.is_none_or(|c| ",([*".contains(c));
                let ends = next.is_none_or(|c| ",)]:".contains(c));
                if begins && ends && groups.iter().all(|group| *group) {
                    return true;
                }
            }
            _ => {}
        }
        if !c.is_whitespace() {
            before = Some(c);
        }
        rest = after;
    }
    false
}
