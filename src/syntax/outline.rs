//! A program with nothing in the bodies that are over: all that decides what may follow it.
//!
//! CPython looks at a line in the light of the blocks that are open around it, and of the statement that it may go
//! on with; of what came before, only a few words reach so far (see `FAR_WORDS`). So its compiler, which reads
//! everything again each time, need not be shown a long program once for each of its continuations.

use super::blocks::Blocks;
use super::complete::normal_newlines;
use super::line::{Head, LogicalLine};
use super::scan::Scan;

/// Words by which a line and one far from it, of the same function or of the same file, can forbid each other:
/// declarations of scopes, and `return` and `yield` in one function that is `async`; and what changes the grammar.
const FAR_WORDS: [&str; 4] = ["global", "nonlocal", "async", "__future__"];

/// A program that CPython compiles, with blank lines in place of what cannot matter to its next lines. Line numbers
/// are those of the program.
#[derive(Debug, Clone, Default)]
pub struct Outline {
    text: String,
}

impl Outline {
    /// The outline of `program`, which CPython must compile as it is: a line with an error that only the compiler finds,
    /// or none but at the end of the source, may be left out. `None` where everything in it may matter.
    pub fn of(program: &str) -> Option<Self> {
        if !is_plain(program) {
            return None;
        }
        let mut scan = Scan::default();
        scan.read(program);
        if scan.lexer().error().is_some() {
            return None;
        }
        let lines = scan.lexer().lines();
        let open = lines.last().filter(|line| !line.terminated);
        let over = &lines[..lines.len() - usize::from(open.is_some())];
        let blocks = Blocks::of(over).ok()?;
        let kept: Vec<&LogicalLine> = blocks.path().iter().map(|index| &over[*index]).collect();
        // Which patterns came before decides what a `case` may be.
        if kept.iter().any(|line| matches!(line.head, Head::Match | Head::Case)) {
            return None;
        }
        let mut text = String::with_capacity(program.len());
        let mut at = 0;
        for (index, line) in kept.iter().enumerate() {
            blank(&program[at..line.start], &mut text);
            text.push_str(&program[line.start..line.end]);
            at = line.end;
            if line.opens_block() && kept.get(index + 1).is_some_and(|next| next.indent == line.indent) {
                // The body is over. The first of its lines stands for it.
                text.push_str(&program[line.start..line.text_start]);
                text.push_str("    pass");
            }
        }
        let end = open.map_or(program.len(), |line| line.start);
        blank(&program[at..end], &mut text);
        text.push_str(&program[end..]);
        Some(Self { text })
    }

    /// A source of which CPython says what it would say of the program with `continuation` after it; `None` where
    /// it might not.
    pub fn with(&self, continuation: &str) -> Option<String> {
        // Looked at together: a word may begin in the one and end in the other.
        let source = format!("{}{continuation}", self.text);
        is_plain(&source).then_some(source)
    }
}

/// Whether nothing in a text forbids what is far from it, and its lines are what they look like.
fn is_plain(text: &str) -> bool {
    // Identifiers are compared in a normal form, so that many letters can stand for those of `__future__`.
    let odd = |line: &str| line.starts_with('\\') || line.starts_with("from") && !line.is_ascii();
    matches!(normal_newlines(text), std::borrow::Cow::Borrowed(_))
        && !text.contains(['\0', '\x0c', '\u{feff}'])
        && !FAR_WORDS.iter().any(|word| text.contains(word))
        && !text.split(['\n', ';']).any(|line| odd(line.trim_start()))
}

/// Appends the newlines of `text`.
fn blank(text: &str, to: &mut String) {
    to.extend(text.matches('\n'));
}

#[cfg(test)]
mod tests {
    use super::Outline;

    #[test]
    fn bodies_that_are_over_are_empty() {
        let program = "import re\n\ndef f(x):\n    # one\n    y = [\n        x,\n    ]\n    if y:\n        a()\n        b()\n    else:\n        for z in y:\n            c(z)\n";
        let outline = Outline::of(program).expect("it has one");
        assert_eq!(
            outline.with("        d()\n").expect("nothing in it reaches far"),
            "\n\ndef f(x):\n\n\n\n\n    if y:\n        pass\n\n    else:\n        for z in y:\n            c(z)\n        d()\n",
        );
    }

    #[test]
    fn an_unfinished_line_stays_whole() {
        for open in ["x = [1,\n", "x = \"\"\"a\n\nb\n", "x = 1 + \\\n", "els"] {
            let program = format!("a = 1\nif a:\n    b = 2\n{open}");
            let outline = Outline::of(&program).expect("it has one");
            assert_eq!(outline.with("2").unwrap(), format!("\nif a:\n    b = 2\n{open}2"));
        }
    }

    #[test]
    fn what_reaches_far_has_no_outline() {
        let far = [
            "def f():\n    global x\n    y = 1\n",
            "async def f():\n    yield 1\n",
            "from __future__ import annotations\n",
            "match x:\n    case 1:\n        y = 1\n    case 2:\n        y = 2\n",
            "a\rb\n",
            "if x:\n    a\n\\\n    b\n",
            "x = 1\nfrom __\u{ff46}uture__ import annotations\n",
            "a = )\n",
            "  a\n b\n",
        ];
        for program in far {
            assert!(Outline::of(program).is_none(), "{program}");
        }
        let outline = Outline::of("def f():\n    x = 1\n").expect("it has one");
        assert_eq!(outline.with("    nonlocal x\n"), None);
        assert_eq!(Outline::of("x = 1\nglo").and_then(|outline| outline.with("bal x\n")), None);
    }
}
