//! Tests that run the whole program: text in, text out.

use serde::{Deserialize, Serialize};

/// The program runs as a script (`__main__`) that reads `stdin`; what it prints must be `stdout`.
///
/// Only `stdin` is given to the program's process; what it printed is compared elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptTest {
    /// All that can be read from standard input.
    pub stdin: String,
    /// What should stand on standard output.
    pub stdout: String,
    /// When printed text is the same as `stdout`.
    #[serde(default)]
    pub comparison: Comparison,
}

/// When two texts are the same. Spaces at the end of a line, and empty lines at the end, never count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// The same lines.
    #[default]
    Text,
    /// The same lines, without the spaces around them; or lines of decimal numbers that are equal: `1.50` is `1.5`
    /// and `1e2` is `100`. As LiveCodeBench compares.
    Decimals,
    /// The same lines, without the spaces around them; or lines of as many words, of which those that the
    /// expected text writes with a fraction or an exponent are close: |a − b| ≤ 10⁻⁸ + 10⁻⁵ |b|. The part of
    /// APPS' comparison that a wrong answer does not pass.
    Close,
    /// The same words, in upper or lower case, wherever the lines break; numbers may differ by less than 10⁻⁵,
    /// whole ones not at all. As CodeContests compares.
    Words,
}

impl ScriptTest {
    /// `None` where `printed` is right; else what is wrong, in one line.
    pub(super) fn difference(&self, printed: &str) -> Option<String> {
        let (got, expected) = (lines(printed), lines(&self.stdout));
        if got == expected {
            return None;
        }
        if self.comparison == Comparison::Words {
            let same = same_words(&words(printed), &words(&self.stdout), |got, expected| {
                got.eq_ignore_ascii_case(expected) || near(got, expected)
            });
            return if same { None } else { Some(first_difference(&got, &expected, |a, b| a == b)) };
        }
        let (got, expected) = (lines(printed.trim()), lines(self.stdout.trim()));
        let same_line = |got: &str, expected: &str| match self.comparison {
            Comparison::Decimals => {
                got.trim() == expected.trim() || same_words(&words(got), &words(expected), same_decimal)
            }
            Comparison::Close => {
                let same = |got: &str, expected: &str| got == expected || close(got, expected);
                same_words(&words(got), &words(expected), same)
            }
            Comparison::Text | Comparison::Words => false,
        };
        let same = self.comparison != Comparison::Text
            && got.len() == expected.len()
            && got.iter().zip(&expected).all(|(got, expected)| same_line(got, expected));
        if same { None } else { Some(first_difference(&got, &expected, same_line)) }
    }
}

/// The lines without the spaces at their ends, and without empty ones at the end.
fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.split('\n').map(str::trim_end).collect();
    while lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    lines
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

fn same_words(got: &[&str], expected: &[&str], same: impl Fn(&str, &str) -> bool) -> bool {
    got.len() == expected.len() && got.iter().zip(expected).all(|(got, expected)| same(got, expected))
}

fn first_difference(got: &[&str], expected: &[&str], same: impl Fn(&str, &str) -> bool) -> String {
    let shared =
        got.iter().zip(expected).take_while(|(got, expected)| got == expected || same(got, expected));
    let at = shared.count();
    let show = |lines: &[&str]| match lines.get(at) {
        Some(line) => format!("{:?}", cut(line)),
        None => "no such line".to_owned(),
    };
    format!("printed line {}: got {}, expected {}", at + 1, show(got), show(expected))
}

/// A line as messages show it.
fn cut(line: &str) -> String {
    const SHOWN: usize = 100;
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// A decimal number without what does not change it: sign, digits without zeros around them, and the power of ten
/// of the last digit.
fn decimal(word: &str) -> Option<(bool, String, i64)> {
    let (negative, rest) = match word.strip_prefix(['-', '+']) {
        Some(rest) => (word.starts_with('-'), rest),
        None => (false, word),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            let plain = !digits.is_empty() && digits.len() <= 9 && is_digits(digits);
            (mantissa, plain.then(|| exponent.parse::<i64>().ok()).flatten()?)
        }
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.len() + fraction.len() == 0 || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    let exponent = exponent - fraction.len() as i64 + (digits.len() - significant.len()) as i64;
    match significant.trim_start_matches('0') {
        "" => Some((false, String::new(), 0)),
        significant => Some((negative, significant.to_owned(), exponent)),
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn same_decimal(got: &str, expected: &str) -> bool {
    decimal(got).is_some_and(|got| decimal(expected) == Some(got))
}

fn is_whole(word: &str) -> bool {
    let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
    !digits.is_empty() && is_digits(digits)
}

/// A finite number in Python's and C's own spelling, without words such as `nan`.
fn number(word: &str) -> Option<f64> {
    decimal(word)?;
    word.parse().ok().filter(|value: &f64| value.is_finite())
}

fn near(got: &str, expected: &str) -> bool {
    if is_whole(got) && is_whole(expected) {
        return same_decimal(got, expected);
    }
    matches!((number(got), number(expected)), (Some(got), Some(expected)) if (got - expected).abs() < 1e-5)
}

fn close(got: &str, expected: &str) -> bool {
    if is_whole(expected) {
        return false;
    }
    match (number(got), number(expected)) {
        (Some(got), Some(expected)) => (got - expected).abs() <= 1e-8 + 1e-5 * expected.abs(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(comparison: Comparison, printed: &str, expected: &str) -> bool {
        let test = ScriptTest { stdin: String::new(), stdout: expected.to_owned(), comparison };
        test.difference(printed).is_none()
    }

    /// Each pair, and which of the comparisons take it for the same: text, decimals, close, words.
    #[test]
    fn each_comparison_forgives_what_it_says() {
        use Comparison::*;
        for (printed, expected, accepted) in [
            ("1 2\n3\n", "1 2\n3", "tdcw"),
            ("1 2  \r\n3\n\n\n", "1 2\n3\n", "tdcw"),
            ("", "\n", "tdcw"),
            (" 1 2\n3", "1 2\n3", "dcw"),
            ("\n1", "1", "dcw"),
            ("1 2 3", "1 2\n3", "w"),
            ("1  2", "1 2", "dcw"),
            ("a  b", "a b", "cw"),
            ("1\n\n2", "1\n2", "w"),
            ("YES", "Yes", "w"),
            ("1.50", "1.5", "dcw"),
            ("150e-2 -0", "1.5 0", "dw"),
            ("2", "2.0", "dcw"),
            ("2.0", "2", "dw"),
            ("0.333333", "0.33333333", "cw"),
            ("100000.5", "100000.0", "c"),
            ("0.50002", "0.5", ""),
            ("0.500009", "0.5", "w"),
            ("2.00001", "2.0", "c"),
            ("2.00003", "2.0", ""),
            ("100001", "100000", ""),
            ("9007199254740993", "9007199254740992", ""),
            ("nan", "NaN", "w"),
            ("inf", "1e999", ""),
            ("1.5x", "1.5", ""),
            ("1", "1 2", ""),
            ("", "0", ""),
            ("2 1", "1 2", ""),
        ] {
            let found: String = [(Text, 't'), (Decimals, 'd'), (Close, 'c'), (Words, 'w')]
                .into_iter()
                .filter(|(comparison, _)| same(*comparison, printed, expected))
                .map(|(_, letter)| letter)
                .collect();
            assert_eq!(found, accepted, "{printed:?} for {expected:?}");
        }
    }

    #[test]
    fn the_first_wrong_line_is_named() {
        let test = ScriptTest {
            stdin: String::new(),
            stdout: "1.0\n2\n3\n".to_owned(),
            comparison: Comparison::Decimals,
        };
        let of = |printed: &str| test.difference(printed).expect("it differs");
        assert_eq!(of("1\n5\n3"), "printed line 2: got \"5\", expected \"2\"");
        assert_eq!(of("1\n2"), "printed line 3: got no such line, expected \"3\"");
        assert!(of(&"é".repeat(1000)).len() < 300);
    }
}
