//! A titled table of texts, for terminals, Markdown and pages.

use super::table::{aligned, escape, markdown};

/// A table with its title and what must be said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sheet {
    /// What it shows.
    pub title: String,
    /// One a column.
    pub headers: Vec<String>,
    /// The first column names the row.
    pub rows: Vec<Vec<String>>,
    /// How to read it.
    pub note: String,
}

impl Sheet {
    fn headers(&self) -> Vec<&str> {
        self.headers.iter().map(String::as_str).collect()
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n{}", self.title, aligned(&self.headers(), &self.rows));
        if !self.note.is_empty() {
            text.push_str(&format!("{}\n", self.note));
        }
        text
    }

    /// In Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n{}", escape(&self.title), markdown(&self.headers(), &self.rows));
        if !self.note.is_empty() {
            text.push_str(&format!("\n{}\n", escape(&self.note)));
        }
        text
    }
}

/// Several tables under each other, then the notes.
pub fn text(sheets: &[Sheet], notes: &[String]) -> String {
    let mut parts: Vec<String> = sheets.iter().map(Sheet::text).collect();
    parts.extend((!notes.is_empty()).then(|| {
        let lines: Vec<String> = notes.iter().map(|note| format!("note: {}\n", one_line(note))).collect();
        lines.concat()
    }));
    parts.join("\n")
}

/// The same in Markdown.
pub fn markdown_of(sheets: &[Sheet], notes: &[String]) -> String {
    let mut parts: Vec<String> = sheets.iter().map(Sheet::markdown).collect();
    parts.extend((!notes.is_empty()).then(|| {
        let lines: Vec<String> = notes.iter().map(|note| format!("- {}\n", escape(note))).collect();
        lines.concat()
    }));
    parts.join("\n")
}

/// A text without what would leave its line or steer a terminal.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Rows as comma-separated values (RFC 4180).
pub fn csv(headers: &[String], rows: &[Vec<String>]) -> String {
    let field = |text: &String| {
        if text.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text.clone()
        }
    };
    let line = |row: &[String]| row.iter().map(field).collect::<Vec<_>>().join(",") + "\r\n";
    std::iter::once(line(headers)).chain(rows.iter().map(|row| line(row))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_quotes_what_would_end_a_field() {
        let row = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let text = csv(&row(&["a", "b"]), &[row(&["x, y", "say \"no\""]), row(&["1.5", "γ=3\n"])]);
        assert_eq!(text, "a,b\r\n\"x, y\",\"say \"\"no\"\"\"\r\n1.5,\"γ=3\n\"\r\n");
    }
}
