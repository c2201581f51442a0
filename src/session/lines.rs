//! Where lines end: cuts generated tokens into lines, and stops a generation after some of them.
//!
//! The line of a step is one line with content, any blank lines before it, and its newline. A token belongs
//! to one line as a whole: when it holds the newline and the next line's indentation, that indentation goes
//! with it and the next step starts after it.

use std::sync::Arc;

use crate::engine::{Finish, StopRule};
use crate::model::tokenizer::Tokenizer;
use crate::syntax::Lexer;

/// What a code fence begins with.
const FENCE: &str = "```";

/// A piece of generated text, cut after one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Number of tokens.
    pub tokens: usize,
    /// Their text.
    pub text: String,
    /// Set when there is no line: the text or the fence ended before one with content came.
    pub end: Option<Finish>,
}

/// The text of tokens; bytes that are no UTF-8 (the half of a character) become replacement characters.
pub fn text_of(tokenizer: &Tokenizer, tokens: &[u32]) -> String {
    tokenizer.decode_lossy(tokens)
}

/// The tokens of a generation that are program: without an end-of-text token, and without the line of a
/// closing fence.
pub fn program_tokens(tokenizer: &Tokenizer, open_line: &str, tokens: &[u32], finish: Finish) -> usize {
    match finish {
        Finish::EndOfText => tokens.len() - 1,
        Finish::Fence => {
            let mut line = String::from(open_line);
            let mut start = 0;
            for (i, &token) in tokens.iter().enumerate() {
                line.push_str(&String::from_utf8_lossy(tokenizer.token_bytes(token)));
                let mut lines = line.split('\n');
                // The fence may span tokens, and its last one may hold newlines too.
                if lines.next().is_some_and(is_fence) {
                    return start;
                }
                if lines.any(is_fence) {
                    return i;
                }
                if let Some(at) = line.rfind('\n') {
                    line.drain(..=at);
                    start = i + 1;
                }
            }
            start
        }
        Finish::Lines | Finish::Length => tokens.len(),
    }
}

fn is_fence(line: &str) -> bool {
    line.trim_start().starts_with(FENCE)
}

/// Cuts the program part of a generation after its first line with content. `open_line` is the text of the
/// prefix after its last newline.
pub fn first_line(tokenizer: &Tokenizer, open_line: &str, tokens: &[u32], finish: Finish) -> Line {
    let program = &tokens[..program_tokens(tokenizer, open_line, tokens, finish)];
    let mut bytes = open_line.as_bytes().to_vec();
    for (i, &token) in program.iter().enumerate() {
        bytes.extend_from_slice(tokenizer.token_bytes(token));
        if ends_line(&bytes) {
            return Line { tokens: i + 1, text: text_of(tokenizer, &program[..=i]), end: None };
        }
    }
    let text = text_of(tokenizer, program);
    // The prefix may end in the middle of a line (the model ended its text without a newline).
    let end = match finish {
        Finish::EndOfText | Finish::Fence if text.trim().is_empty() => Some(finish),
        _ => None,
    };
    Line { tokens: program.len(), text, end }
}

/// Whether the text holds a newline after content.
fn ends_line(bytes: &[u8]) -> bool {
    let content = bytes.iter().position(|b| !b.is_ascii_whitespace());
    content.is_some_and(|at| bytes[at..].contains(&b'\n'))
}

/// Stops after a number of lines, at a closing fence, or at the end of the text.
pub struct LineStop {
    tokenizer: Arc<Tokenizer>,
    /// Lexer after the whole prefix.
    lexer: Lexer,
    /// Text of the prefix after its last newline.
    open_line: String,
    /// `None`: no bound on lines.
    lines: Option<usize>,
    /// Count only lines that end outside of a string: a docstring is one line.
    logical: bool,
    fenced: bool,
}

impl LineStop {
    /// `prefix` is the program so far; `fenced` says that it stands in a code fence.
    pub fn new(
        tokenizer: Arc<Tokenizer>,
        prefix: &str,
        lines: Option<usize>,
        logical: bool,
        fenced: bool,
    ) -> Self {
        let mut lexer = Lexer::new();
        if lines.is_some() && logical {
            lexer.feed(prefix);
        }
        let open_line = prefix.rsplit('\n').next().unwrap_or_default().to_owned();
        Self { tokenizer, lexer, open_line, lines, logical, fenced }
    }

    fn enough_lines(&self, text: &str) -> bool {
        let Some(wanted) = self.lines else { return false };
        let mut lexer = self.logical.then(|| self.lexer.clone());
        let mut open = self.open_line.clone();
        let mut count = 0;
        for piece in text.split_inclusive('\n') {
            if let Some(lexer) = &mut lexer {
                lexer.feed(piece);
            }
            open.push_str(piece);
            if !piece.ends_with('\n') {
                break;
            }
            let inside = lexer.as_ref().is_some_and(Lexer::in_string);
            count += usize::from(!open.trim().is_empty() && !inside);
            open.clear();
        }
        count >= wanted
    }
}

impl StopRule for LineStop {
    fn check(&self, generated: &[u32]) -> Option<Finish> {
        let last = *generated.last()?;
        if self.tokenizer.is_eos(last) {
            return Some(Finish::EndOfText);
        }
        let bytes = self.tokenizer.token_bytes(last);
        let newline = bytes.contains(&b'\n');
        let fence = self.fenced && bytes.contains(&b'`');
        if !newline && !fence {
            return None;
        }
        let text = self.open_line.clone() + &self.tokenizer.decode_lossy(generated);
        if self.fenced && text.lines().any(is_fence) {
            return Some(Finish::Fence);
        }
        (newline && self.enough_lines(&text[self.open_line.len()..])).then_some(Finish::Lines)
    }
}
