//! Lines of a source as CPython counts them.

/// Splits a source where CPython's tokenizer does: after `\n`, `\r\n` and `\r`. (Rust's `lines` knows no lone
/// `\r`; Python's `splitlines` knows too many.)
pub(crate) fn source_lines(source: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(source);
    std::iter::from_fn(move || {
        let text = rest?;
        match text.find(['\n', '\r']) {
            Some(end) => {
                let width = if text[end..].starts_with("\r\n") { 2 } else { 1 };
                rest = Some(&text[end + width..]);
                Some(&text[..end])
            }
            None => {
                rest = None;
                Some(text)
            }
        }
    })
}

/// Line `number` (from 1) of `source`, without its end; `None` when there is no such line.
pub fn source_line(source: &str, number: u32) -> Option<&str> {
    source_lines(source).nth((number as usize).checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_ends_of_line() {
        let source = "a\r\nb\rc\x0c\nd";
        let lines: Vec<_> = (1..=5).map(|n| source_line(source, n)).collect();
        assert_eq!(lines, [Some("a"), Some("b"), Some("c\x0c"), Some("d"), None]);
        assert_eq!(source_line("a", 0), None);
    }
}
