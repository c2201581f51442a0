//! Text that a model wrote, as a terminal may show it.

use unicode_width::UnicodeWidthChar;

/// Columns between two tab stops.
const TAB: usize = 4;

/// Characters without a width of their own that may follow one that has: accents, and not a tower of them.
const MARKS: usize = 2;

/// One line of a text in at most `width` columns: nothing in it steers the terminal, hides, or reorders what stands beside it.
/// Tabs are spaces, and other such characters visible signs; what is too long ends with `…`.
pub fn visible(text: &str, width: usize) -> String {
    let mut shown = String::new();
    // The columns taken, and how much of the text would leave room for the sign of the cut.
    let (mut column, mut cut, mut marks) = (0, 0, 0);
    for c in text.chars() {
        let sign = sign_of(c);
        let columns = match c {
            '\t' => TAB - column % TAB,
            _ => sign.width().unwrap_or(0),
        };
        marks = if columns == 0 { marks + 1 } else { 0 };
        let (sign, columns) =
            if columns == 0 && (column == 0 || marks > MARKS) { ('·', 1) } else { (sign, columns) };
        if column + columns > width {
            shown.truncate(cut);
            if width > 0 {
                shown.push('…');
            }
            return shown;
        }
        column += columns;
        match c {
            '\t' => shown.extend(std::iter::repeat_n(' ', columns)),
            _ => shown.push(sign),
        }
        if column < width {
            cut = shown.len();
        }
    }
    shown
}

/// The character itself, or what stands for one that must not be printed.
fn sign_of(c: char) -> char {
    match c {
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('·'),
        '\x7f' => '\u{2421}',
        // C1 controls; soft hyphen; bidirectional and zero-width formatting; line separators; variation selectors; tags.
        '\u{80}'..='\u{9f}'
        | '\u{ad}'
        | '\u{61c}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}' => '·',
        _ => c,
    }
}

/// Columns that a text takes which came from [`visible`].
pub fn columns(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// As [`visible`], filled up with blanks to `width` columns.
pub fn padded(text: &str, width: usize) -> String {
    let mut shown = visible(text, width);
    shown.extend(std::iter::repeat_n(' ', width.saturating_sub(columns(&shown))));
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_hides_or_reorders() {
        assert_eq!(visible("a\x1b[2J\x07\u{9b}1m\r\n\x7fb", 80), "a␛[2J␇·1m␍␊␡b");
        assert_eq!(
            visible("x = '\u{202e}evil\u{2066}\u{feff}\u{200b}\u{200d}\u{fe0f}'", 80),
            "x = '·evil·····'"
        );
    }

    #[test]
    fn tabs_are_spaces_up_to_the_next_stop() {
        assert_eq!(visible("\tif x:\ty", 80), "    if x:   y");
        assert_eq!(visible("\t\t", 6), "    …");
    }

    #[test]
    fn what_is_too_long_is_cut_at_whole_characters() {
        assert_eq!(visible("abcdef", 6), "abcdef");
        assert_eq!(visible("abcdefg", 6), "abcde…");
        assert_eq!(visible("日本語", 6), "日本語");
        assert_eq!(visible("日本語", 5), "日本…");
        assert_eq!(visible("日本語", 4), "日…");
        assert_eq!(visible("日本語", 1), "…");
        assert_eq!(visible("日本語", 0), "");
        assert_eq!(columns(&visible(&"x".repeat(100_000), 80)), 80);
        assert_eq!(padded("日本語", 5), "日本…");
        assert_eq!(padded("日", 4), "日  ");
    }

    #[test]
    fn an_accent_stays_and_a_tower_of_them_does_not() {
        assert_eq!(visible("e\u{301}x", 80), "e\u{301}x");
        assert_eq!(visible(&format!("e{}", "\u{301}".repeat(5)), 80), "e\u{301}\u{301}···");
        assert_eq!(visible("\u{301}x", 80), "·x");
    }
}
