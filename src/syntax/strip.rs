//! A program without its comments and docstrings: what runs is the same, what has to be read is less.

use std::ops::Range;

use tree_sitter::{Node, Parser};

use super::MAX_SOURCE;

/// The program without comments, docstrings (any statement that is only a string) and blank lines. A body that
/// held nothing else keeps a `pass`. A source that does not parse is returned as it is.
///
/// ```
/// # use vigor::syntax::strip;
/// let source = "def f(x):\n    \"\"\"Doubles.\"\"\"\n\n    return 2 * x  # twice\n";
/// assert_eq!(strip(source), "def f(x):\n    return 2 * x\n");
/// ```
pub fn strip(source: &str) -> String {
    let mut parser = Parser::new();
    if source.len() > MAX_SOURCE || parser.set_language(&tree_sitter_python::LANGUAGE.into()).is_err() {
        return source.to_owned();
    }
    let Some(tree) = parser.parse(source, None).filter(|tree| !tree.root_node().has_error()) else {
        return source.to_owned();
    };
    let mut found = Found::default();
    found.visit(tree.root_node());
    found.cut(source)
}

#[derive(Default)]
struct Found {
    /// Ranges to leave out, with what stands in their place, in order.
    cuts: Vec<(Range<usize>, &'static str)>,
    /// Strings that stay: their lines are text, blank or not.
    strings: Vec<Range<usize>>,
}

impl Found {
    /// Goes through the tree with a stack of its own: a deep tree must not overflow ours.
    fn visit(&mut self, root: Node<'_>) {
        let mut stack = vec![root];
        while let Some(node) = stack.pop() {
            match node.kind() {
                "comment" => self.cuts.push((node.byte_range(), "")),
                "expression_statement" if is_docstring(node) => {
                    let alone = node.parent().is_some_and(|body| {
                        let mut cursor = body.walk();
                        body.kind() == "block"
                            && body
                                .named_children(&mut cursor)
                                .filter(|n| n.kind() != "comment")
                                .all(is_docstring)
                    });
                    // Of several strings in one body the first leaves the `pass`.
                    let first = node.prev_named_sibling().is_none_or(|n| n.kind() == "comment");
                    self.cuts.push((node.byte_range(), if alone && first { "pass" } else { "" }));
                }
                "string" => self.strings.push(node.byte_range()),
                _ => {
                    let mut cursor = node.walk();
                    stack.extend(node.children(&mut cursor));
                }
            }
        }
        self.cuts.sort_by_key(|(range, _)| range.start);
    }

    fn cut(&self, source: &str) -> String {
        let mut out = String::with_capacity(source.len());
        let mut cuts = self.cuts.iter().peekable();
        let (mut at, mut line_start) = (0, 0);
        for line in source.split_inclusive('\n') {
            let (start, end) = (at, at + line.len());
            at = end;
            // A cut may span lines: copy what of this line is outside of all cuts.
            let mut from = start.max(line_start);
            while let Some((range, instead)) = cuts.peek().filter(|(range, _)| range.start < end) {
                out.push_str(&source[from.min(range.start)..range.start]);
                out.push_str(instead);
                from = range.end;
                if range.end > end {
                    break;
                }
                cuts.next();
            }
            if from < end {
                out.push_str(&source[from..end]);
            } else {
                line_start = from;
                if cuts.peek().is_some_and(|(range, _)| range.end == from) {
                    cuts.next();
                }
            }
            let text = self.strings.iter().any(|s| s.start < end && end < s.end);
            if !text {
                tidy_last_line(&mut out);
            }
        }
        out
    }
}

/// Removes blanks at the end of the last line, and the line itself when nothing is on it.
fn tidy_last_line(out: &mut String) {
    let ended = out.ends_with('\n');
    let kept = out.trim_end_matches([' ', '\t', '\r', '\n', '\x0c']).len();
    let line = out.rfind('\n').filter(|_| !ended).or_else(|| out.strip_suffix('\n')?.rfind('\n'));
    let line = line.map_or(0, |at| at + 1);
    if kept <= line {
        out.truncate(line);
    } else {
        out.truncate(kept);
        if ended {
            out.push('\n');
        }
    }
}

/// A statement that is nothing but a string.
fn is_docstring(node: Node<'_>) -> bool {
    let only = node.named_child(0).filter(|_| node.named_child_count() == 1);
    node.kind() == "expression_statement"
        && only.is_some_and(|n| matches!(n.kind(), "string" | "concatenated_string"))
}

#[cfg(test)]
mod tests {
    use super::strip;

    #[test]
    fn what_runs_stays() {
        let source = "# top\nimport os  # why\n\ndef f(a):\n    '''Doc\n\n    more.\n    '''\n    # note\n    s = \"\"\"keep\n\n# me\n\"\"\"\n    if a:\n        'only'\n    return s  # end\n\n\nclass A:\n    \"doc\"\n    x = 1\n";
        let expected = "import os\ndef f(a):\n    s = \"\"\"keep\n\n# me\n\"\"\"\n    if a:\n        pass\n    return s\nclass A:\n    x = 1\n";
        assert_eq!(strip(source), expected);
    }

    #[test]
    fn odd_sources() {
        assert_eq!(strip(""), "");
        assert_eq!(strip("def f(:\n  # broken\n"), "def f(:\n  # broken\n");
        assert_eq!(strip("x = 1 # no newline"), "x = 1");
        assert_eq!(strip("def f():\n    \"a\"\n    \"b\"\n"), "def f():\n    pass\n");
        assert_eq!(strip("\"doc\"\nx = 'a'; 'b'\n"), "x = 'a'; \n".trim_end().to_owned() + "\n");
    }
}
