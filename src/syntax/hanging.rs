//! Lines inside of brackets that are indented less than their statement.

use super::lexer::Lexer;

/// `source` with those lines indented further, and where its byte `from` lies then; `None` where there are none.
/// CPython does not look at their indentation. tree-sitter's grammar takes some of them, as the second one of
/// `f(a +\n` and `b)`, for the end of the block.
pub(super) fn indented(source: &str, from: usize) -> Option<(String, usize)> {
    let mut lexer = Lexer::new();
    let (mut out, mut moved) = (String::new(), from);
    for line in source.split_inclusive('\n') {
        let statement = lexer.lines().last().map_or(0, |statement| statement.indent.columns);
        let margin = line.len() - line.trim_start_matches(' ').len();
        if lexer.depth() > 0 && !lexer.in_string() && margin <= statement {
            out.extend(std::iter::repeat_n(' ', statement + 1));
            if lexer.position() < from {
                moved += statement + 1;
            }
        }
        lexer.feed(line);
        out.push_str(line);
    }
    (out.len() > source.len()).then_some((out, moved))
}
