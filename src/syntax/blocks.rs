//! Logical lines to indentation levels: which headers wait for a body, which `try` for a handler.

use super::MAX_INDENTS;
use super::line::{Head, Indent, LogicalLine};

/// What makes the lines of a prefix impossible, whatever follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BlockError {
    #[error("a line is indented though no header asks for it")]
    UnexpectedIndent,
    #[error("a header has no indented body")]
    MissingBody,
    #[error("an indentation matches no outer one")]
    Dedent,
    #[error("blocks are nested too deeply")]
    Depth,
    #[error("a `try` has no handler, or a handler no `try`")]
    Try,
    #[error("a decorator is followed by no definition")]
    Decorator,
}

#[derive(Debug, Clone, Copy)]
struct Level {
    indent: Indent,
    /// Where the whitespace of its first line lies in the text.
    margin: (usize, usize),
    /// The last statement of the level is a `try` that may get handlers: whether it has one.
    handled: Option<bool>,
    /// Where its last statement begins in the path.
    statement: usize,
}

/// The indentation structure after some logical lines.
#[derive(Debug, Clone)]
pub(super) struct Blocks {
    levels: Vec<Level>,
    /// Indices of the lines that the last line stands under, outermost first, and its own: of each level the
    /// headers of the last statement.
    path: Vec<usize>,
    /// Head of the header whose block has not begun.
    pending: Option<Head>,
    decorated: bool,
}

impl Blocks {
    /// The structure of `lines`; an error is the first line that cannot stand where it is, with its index.
    pub(super) fn of(lines: &[LogicalLine]) -> Result<Self, (usize, BlockError)> {
        let root = Level { indent: Indent::default(), margin: (0, 0), handled: None, statement: 0 };
        let mut blocks = Self { levels: vec![root], path: Vec::new(), pending: None, decorated: false };
        for (index, line) in lines.iter().enumerate() {
            blocks.push(line).map_err(|error| (index, error))?;
            blocks.path.push(index);
        }
        Ok(blocks)
    }

    /// Whether the last line is a header whose block has not begun.
    pub(super) fn wants_body(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether the last line is a decorator.
    pub(super) fn decorated(&self) -> bool {
        self.decorated
    }

    /// Whether every header has a body, every `try` a handler and every decorator a definition.
    pub(super) fn is_whole(&self) -> bool {
        let handled = self.levels.iter().all(|level| level.handled != Some(false));
        handled && !self.wants_body() && !self.decorated
    }

    /// Indices of the lines that the last line stands under, outermost first, and its own.
    pub(super) fn path(&self) -> &[usize] {
        &self.path
    }

    fn push(&mut self, line: &LogicalLine) -> Result<(), BlockError> {
        self.place(line)?;
        let level = self.levels.last_mut().expect("the root level is never popped");
        // A line that is still being written may become anything that begins like it.
        let whole = line.terminated || line.colon.is_some();
        if self.decorated && whole && !matches!(line.head, Head::Def | Head::Class | Head::Decorator) {
            return Err(BlockError::Decorator);
        }
        self.decorated = line.head == Head::Decorator;
        match (line.head, level.handled) {
            (Head::Except | Head::Finally, Some(_)) => level.handled = Some(true),
            (Head::Except | Head::Finally, None) => return Err(BlockError::Try),
            (Head::Try, handled) if handled != Some(false) => level.handled = Some(false),
            (_, Some(false)) if whole => return Err(BlockError::Try),
            (_, Some(false)) => {}
            // `else` of a `try`; a `finally` may follow.
            (Head::Alternative, Some(true)) => {}
            _ => level.handled = None,
        }
        if !line.head.continues() {
            self.path.truncate(level.statement);
        }
        if line.opens_block() {
            self.pending = Some(line.head);
        }
        Ok(())
    }

    /// Finds the level of the line, as CPython's tokenizer does.
    fn place(&mut self, line: &LogicalLine) -> Result<(), BlockError> {
        let top = self.levels.last().expect("the root level is never popped").indent;
        let pending = self.pending.take().is_some();
        let indent = line.indent;
        if indent.columns > top.columns {
            if !pending || indent.narrow <= top.narrow {
                return Err(if pending { BlockError::Dedent } else { BlockError::UnexpectedIndent });
            }
            if self.levels.len() >= MAX_INDENTS {
                return Err(BlockError::Depth);
            }
            let margin = (line.start, line.text_start);
            self.levels.push(Level { indent, margin, handled: None, statement: self.path.len() });
            return Ok(());
        }
        if pending {
            return Err(BlockError::MissingBody);
        }
        while let Some(level) = self.levels.last()
            && level.indent.columns > indent.columns
        {
            if level.handled == Some(false) {
                return Err(BlockError::Try);
            }
            self.path.truncate(level.statement);
            self.levels.pop();
        }
        match self.levels.last() {
            Some(level) if level.indent == indent => Ok(()),
            _ => Err(BlockError::Dedent),
        }
    }

    /// What to append to `text`, which holds the lines and ends in a newline, so that every header has a
    /// body, every `try` a handler and a decorator a definition. The handler is `finally`: it lets exceptions
    /// through.
    pub(super) fn fixups(&self, text: &str) -> String {
        let mut out = String::new();
        for (depth, level) in self.levels.iter().enumerate().rev() {
            let margin = text.get(level.margin.0..level.margin.1).unwrap_or("");
            let innermost = depth + 1 == self.levels.len();
            if innermost && self.decorated {
                out.push_str(&format!("{margin}def _():\n{margin}    pass\n"));
            }
            if innermost && let Some(head) = self.pending {
                if head == Head::Match {
                    out.push_str(&format!("{margin}    case _:\n{margin}        pass\n"));
                } else {
                    out.push_str(&format!("{margin}    pass\n"));
                }
            }
            if level.handled == Some(false) {
                out.push_str(&format!("{margin}finally:\n{margin}    pass\n"));
            }
        }
        out
    }
}
