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
}

/// The indentation structure after some logical lines.
#[derive(Debug, Clone)]
pub(super) struct Blocks {
    levels: Vec<Level>,
    /// Head of the header whose block has not begun.
    pending: Option<Head>,
    decorated: bool,
}

impl Blocks {
    /// The structure of `lines`; an error is the first line that cannot stand where it is, with its index.
    pub(super) fn of(lines: &[LogicalLine]) -> Result<Self, (usize, BlockError)> {
        let root = Level { indent: Indent::default(), margin: (0, 0), handled: None };
        let mut blocks = Self { levels: vec![root], pending: None, decorated: false };
        for (index, line) in lines.iter().enumerate() {
            blocks.push(line).map_err(|error| (index, error))?;
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
            (Head::Flow, Some(true)) => {}
            _ => level.handled = None,
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
            self.levels.push(Level { indent, margin: (line.start, line.text_start), handled: None });
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
            self.levels.pop();
        }
        match self.levels.last() {
            Some(level) if level.indent == indent => Ok(()),
            _ => Err(BlockError::Dedent),
        }
    }

    /// What to append to `text`, which holds the lines and ends in a newline, so that every header has a
    /// body and every `try` a handler. The handler is `finally`: it lets exceptions through.
    pub(super) fn fixups(&self, text: &str) -> String {
        let mut out = String::new();
        for (depth, level) in self.levels.iter().enumerate().rev() {
            let margin = text.get(level.margin.0..level.margin.1).unwrap_or("");
            if depth + 1 == self.levels.len()
                && let Some(head) = self.pending
            {
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
