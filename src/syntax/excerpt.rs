//! The last line of a text with the lines that it stands under: all that decides whether it can stand there.

use super::complete::finish;
use super::scan::Scan;

/// The headers over the last logical line, outermost first, and the line itself. A header whose statement goes
/// on (`if` before `else`) gets an empty body.
pub(super) struct Excerpt {
    text: String,
    /// Where in the text the last line begins.
    last: usize,
}

impl Excerpt {
    /// The excerpt of what was read, where the last line has the lines numbered by `path` over it.
    pub(super) fn of(scan: &Scan, path: &[usize]) -> Self {
        let lines = scan.lexer().lines();
        let mut excerpt = Self { text: String::new(), last: 0 };
        for (at, index) in path.iter().enumerate() {
            let line = &lines[*index];
            excerpt.last = excerpt.text.len();
            excerpt.text.push_str(&scan.text()[line.start..line.end]);
            let goes_on = path.get(at + 1).is_some_and(|next| lines[*next].head.continues());
            if line.opens_block() && goes_on && lines[path[at + 1]].indent == line.indent {
                excerpt.text.push_str(&scan.text()[line.start..line.text_start]);
                excerpt.text.push_str("    pass\n");
            }
        }
        excerpt
    }

    /// A program of the whole excerpt, and where in it the last line begins.
    pub(super) fn program(&self) -> (String, usize) {
        (runnable(&self.text), self.last)
    }

    /// A program of the headers alone.
    pub(super) fn headers(&self) -> String {
        runnable(&self.text[..self.last])
    }
}

/// `text` with the bodies, handlers and definitions that it lacks.
fn runnable(text: &str) -> String {
    let mut scan = Scan::default();
    scan.read(text);
    scan.blocks().map_or_else(|_| text.to_owned(), |blocks| finish(text, &blocks))
}
