//! HTML and SVG text that cannot be broken by what is put into it.
//!
//! Tags can only come from `&'static str`, that is from this program's source. Everything else goes
//! through [`Markup::text`] or [`Markup::attr`], which escape it.

use std::fmt::Display;

use sha2::{Digest, Sha256};

/// A growing piece of HTML or SVG.
#[derive(Debug, Clone, Default)]
pub struct Markup(String);

impl Markup {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds markup from this program's source.
    pub fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Adds markup that was made by this type.
    pub fn add(&mut self, markup: &Markup) -> &mut Self {
        self.0.push_str(&markup.0);
        self
    }

    /// Adds a text, escaped; characters that cannot be seen or that reorder others are made visible.
    pub fn text(&mut self, text: impl Display) -> &mut Self {
        for c in text.to_string().chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' | '\t' => self.0.push(c),
                '\0'..='\x1f' => self.0.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}')),
                '\x7f' => self.0.push('\u{2421}'),
                // C1 controls, bidirectional and zero-width formatting, line separators, noncharacters.
                '\u{80}'..='\u{9f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}'
                | '\u{feff}'
                | '\u{fffe}'..='\u{ffff}' => self.0.push_str(&format!("⟨U+{:04X}⟩", u32::from(c))),
                _ => self.0.push(c),
            }
        }
        self
    }

    /// Adds an attribute, with the blank before it: ` name="value"`.
    pub fn attr(&mut self, name: &'static str, value: impl Display) -> &mut Self {
        self.0.push(' ');
        self.0.push_str(name);
        self.0.push_str("=\"");
        self.text(value);
        self.0.push('"');
        self
    }

    /// Adds `<tag class="…">text</tag>`.
    pub fn element(&mut self, tag: &'static str, class: &'static str, text: impl Display) -> &mut Self {
        self.raw("<").raw(tag);
        if !class.is_empty() {
            self.attr("class", class);
        }
        // A newline right after <pre> is dropped by readers, so that one of the text's own would be lost.
        self.raw(if tag == "pre" { ">\n" } else { ">" }).text(text).raw("</").raw(tag).raw(">")
    }

    /// The text.
    pub fn into_string(self) -> String {
        self.0
    }
}

const STYLE: &str = include_str!("page.css");
/// Moves between the steps of a session.
pub const SESSION: &str = include_str!("session.js");
/// Explains the map of a run, and moves in it.
pub const MAP: &str = include_str!("map.js");

/// A whole page with style and script inside. Its policy lets nothing load and only that script run, so
/// even a hole in the escaping would stay harmless.
pub fn page(title: &str, body: &Markup, script: Option<&'static str>) -> String {
    let allowed = script.map(|script| format!("'sha256-{}'", base64(&Sha256::digest(script))));
    let mut page = Markup::new();
    page.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta");
    page.attr("http-equiv", "Content-Security-Policy").attr(
        "content",
        format!(
            "default-src 'none'; style-src 'unsafe-inline'; script-src {}",
            allowed.as_deref().unwrap_or("'none'")
        ),
    );
    page.raw(">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.raw("<meta name=\"color-scheme\" content=\"light dark\">\n").element("title", "", title);
    page.raw("\n<style>\n").raw(STYLE).raw("</style>\n</head>\n<body>\n").add(body);
    if let Some(script) = script {
        page.raw("\n<script>").raw(script).raw("</script>");
    }
    page.raw("\n</body>\n</html>\n");
    page.into_string()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let word = (0..3).fold(0, |word, i| word << 8 | usize::from(three.get(i).copied().unwrap_or(0)));
        for digit in 0..4 {
            let c = DIGITS[word >> (18 - 6 * digit) & 63];
            text.push(if digit <= three.len() { char::from(c) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_becomes_visible_text() {
        let mut markup = Markup::new();
        markup
            .raw("<a")
            .attr("title", "\"><script>")
            .raw(">")
            .text("</script>&'\0\x1b\u{202e}\tü")
            .raw("</a>");
        assert_eq!(
            markup.into_string(),
            "<a title=\"&quot;&gt;&lt;script&gt;\">&lt;/script&gt;&amp;&#39;␀␛⟨U+202E⟩\tü</a>"
        );
    }

    #[test]
    fn base64_of_all_lengths() {
        for (text, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }
}
