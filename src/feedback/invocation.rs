//! The call inside of a test.

/// The first call of `entry_point` in `test`, from its name to the closing parenthesis: `f([1], ')')` in
/// `assert f([1], ')') == 2`. What the test expects is not part of it. `None` where there is no such call.
pub fn invocation<'a>(test: &'a str, entry_point: &str) -> Option<&'a str> {
    if entry_point.is_empty() {
        return None;
    }
    test.match_indices(entry_point).find_map(|(start, name)| {
        let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
        let before = test[..start].chars().next_back();
        let open = start + name.len();
        // A longer name, an attribute of something else, or a mention that is no call.
        if before.is_some_and(|c| part_of_word(c) || c == '.') || !test[open..].starts_with('(') {
            return None;
        }
        closing(&test[open..]).map(|end| &test[start..open + end])
    })
}

/// Length of the text up to the parenthesis that closes its first one; brackets inside of strings do not count.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut quote: Option<&str> = None;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        at += c.len_utf8();
        match quote {
            Some(_) if c == '\\' => at += text[at..].chars().next().map_or(0, char::len_utf8),
            Some(mark) if rest.starts_with(mark) => {
                at += mark.len() - 1;
                quote = None;
            }
            Some(_) => {}
            None => match c {
                '\'' | '"' => {
                    let mark =
                        ["'''", "\"\"\"", "'", "\""].into_iter().find(|mark| rest.starts_with(mark))?;
                    at += mark.len() - 1;
                    quote = Some(mark);
                }
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => {
                    depth = depth.checked_sub(1)?;
                    if depth == 0 {
                        return Some(at);
                    }
                }
                _ => {}
            },
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_without_what_is_expected() {
        for (test, expected) in [
            ("assert f(1) == 2", Some("f(1)")),
            ("assert f([1, (2,)], ')', \"\\\")\") == f2(3)", Some("f([1, (2,)], ')', \"\\\")\")")),
            ("assert abs(f(2) - 4.0) < 1e-6", Some("f(2)")),
            ("assert g.f(1) == f(2)", Some("f(2)")),
            ("assert set(f('''a'b)''')) == {1}", Some("f('''a'b)''')")),
            ("assert ff(1) == 2", None),
            ("assert f == 2", None),
            ("assert f(1", None),
        ] {
            assert_eq!(invocation(test, "f"), expected, "{test}");
        }
        assert_eq!(invocation("assert f(1)", ""), None);
    }
}
