//! A model's answer to the program in it.

/// The program in a model's answer: the code in the last Python fence (`` ```python ``, `` ```py ``), or the
/// last fence without a language where there is none for Python, or the whole text where there are no fences.
/// A fence that is never closed reaches to the end of the text; a lone fence at the end closes the text.
///
/// ```
/// # use vigor::syntax::extract_program;
/// assert_eq!(extract_program("Here:\n```python\nx = 1\n```\nDone."), "x = 1\n");
/// assert_eq!(extract_program("x = 1\n"), "x = 1\n");
/// ```
pub fn extract_program(text: &str) -> String {
    let mut python = None;
    let mut plain = None;
    let mut open: Option<Fence> = None;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let end = offset + line.len();
        if let Some(label) = line.trim().strip_prefix("```") {
            match open.take() {
                Some(fence) => fence.keep(offset, &mut python, &mut plain),
                None => open = Some(Fence { at: offset, start: end, language: Language::of(label) }),
            }
        }
        offset = end;
    }
    if let Some(fence) = open {
        if !text[fence.start..].trim().is_empty() {
            fence.keep(text.len(), &mut python, &mut plain);
        } else if python.is_none() && plain.is_none() {
            // A text that began inside of a fence, and closes it.
            return text[..fence.at].to_owned();
        }
    }
    match python.or(plain) {
        Some((start, end)) => text[start..end].to_owned(),
        None => text.to_owned(),
    }
}

enum Language {
    Python,
    None,
    Other,
}

impl Language {
    fn of(label: &str) -> Self {
        match label.trim().to_ascii_lowercase().as_str() {
            "" => Self::None,
            "py" | "python" | "python3" => Self::Python,
            _ => Self::Other,
        }
    }
}

struct Fence {
    /// Where its own line begins.
    at: usize,
    /// Where its content begins.
    start: usize,
    language: Language,
}

impl Fence {
    fn keep(self, end: usize, python: &mut Option<(usize, usize)>, plain: &mut Option<(usize, usize)>) {
        match self.language {
            Language::Python => *python = Some((self.start, end)),
            Language::None => *plain = Some((self.start, end)),
            Language::Other => {}
        }
    }
}
