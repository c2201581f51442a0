//! What a pass is about, as the kernels read it: an array in device memory, written by one copy.

use std::collections::HashMap;

use super::driver::{Buffer, Staging};
use super::stage::MOST_ROWS;
pub(super) use crate::model::cpu::attention::PAGE;
use crate::model::{ModelError, Span};

/// Pages that a block of attention takes.
const BLOCK_PAGES: usize = 4;
/// Positions of a whole chunk.
const CHUNK: usize = BLOCK_PAGES * PAGE;
/// Query heads of a piece of work at most, where a token does not bring more.
const PIECE_ROWS: usize = 32;
/// Words of a piece, and of an item: `Piece` and `Item` in `attention.cu`.
const PIECE_WORDS: usize = 4;
const ITEM_WORDS: usize = BLOCK_PAGES * PIECE_WORDS;
/// Words before the arrays: `Pass` in `layout.cuh`.
const HEADER: usize = 8;

/// A row of a pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// Number of its span.
    pub span: usize,
    /// Its token.
    pub token: u32,
    /// Where that stands in its sequence.
    pub position: usize,
    /// Where its logits go, when they are wanted.
    pub logits: Option<u32>,
}

/// How large the launches of a pass are. Passes of one shape run the same launches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    /// Rows at most.
    pub tokens: usize,
    /// Rows whose logits are wanted, at most.
    pub wanted: usize,
    /// Items of work of attention, at most.
    pub items: usize,
}

/// Few sizes, so that few shapes do.
fn rung(n: usize) -> usize {
    match n {
        0 => 0,
        1..=64 => n.next_power_of_two().max(8),
        _ => n.next_multiple_of(64),
    }
}

/// Unfinished sums of attention of a row that sees `positions` positions: one for each whole chunk before that of its own
/// position, and one for each page of that one, at most.
pub(super) fn most_parts(positions: usize) -> usize {
    positions.div_ceil(CHUNK) + BLOCK_PAGES - 1
}

/// Some tokens that look at the same pages: at a whole chunk, or at one page of the chunk that their own positions are in.
struct Piece {
    /// Position of the first slot.
    start: usize,
    pages: Vec<u32>,
    tokens: Vec<u32>,
}

/// The pieces of work of attention for some rows, where a token has `group` query heads a key head.
fn pieces(rows: &[Row], spans: &[Span<'_>], group: usize) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    // The last piece for each place and its pages.
    let mut open: HashMap<(usize, &[u32]), usize> = HashMap::new();
    let most = (PIECE_ROWS / group).max(1);
    let mut first = 0;
    while first < rows.len() {
        let span = rows[first].span;
        let run = &rows[first..][..rows[first..].iter().take_while(|row| row.span == span).count()];
        let positions = run[run.len() - 1].position + 1;
        let all = &spans[span].pages[..positions.div_ceil(PAGE)];
        let mut add = |start: usize, pages, wanted: &dyn Fn(usize) -> bool| {
            for (token, _) in run.iter().enumerate().filter(|(_, row)| wanted(row.position)) {
                let piece =
                    open.get(&(start, pages)).copied().filter(|&piece| pieces[piece].tokens.len() < most);
                let piece = piece.unwrap_or_else(|| {
                    pieces.push(Piece { start, pages: pages.to_vec(), tokens: Vec::new() });
                    open.insert((start, pages), pieces.len() - 1);
                    pieces.len() - 1
                });
                pieces[piece].tokens.push((first + token) as u32);
            }
        };
        for (chunk, pages) in all.chunks(BLOCK_PAGES).enumerate() {
            add(chunk * CHUNK, pages, &|position| position / CHUNK > chunk);
            // The rows whose own chunk this is.
            if run[0].position / CHUNK <= chunk {
                for (number, page) in pages.chunks(1).enumerate() {
                    let start = chunk * CHUNK + number * PAGE;
                    add(start, page, &|position| position / CHUNK == chunk && position >= start);
                }
            }
        }
        first += run.len();
    }
    pieces
}

/// The words of a pass.
pub(super) struct Batch {
    pub shape: Shape,
    words: Vec<u32>,
}

/// Addresses of the parts in device memory.
pub(super) struct Places {
    pub pass: u64,
    pub tokens: u64,
    pub positions: u64,
    pub places: u64,
    pub lengths: u64,
    pub wanted_tokens: u64,
    pub wanted_rows: u64,
    pub items: u64,
    pub list: u64,
}

impl Batch {
    /// Puts together what the kernels must know of `rows`.
    pub fn new(rows: &[Row], spans: &[Span<'_>], group: usize) -> Self {
        let (whole, single): (Vec<Piece>, Vec<Piece>) =
            pieces(rows, spans, group).into_iter().partition(|piece| piece.pages.len() > 1);
        let items = whole.len() + single.len().div_ceil(BLOCK_PAGES);
        let wanted: Vec<(u32, u32)> =
            rows.iter().enumerate().filter_map(|(i, row)| Some((i as u32, row.logits?))).collect();
        let shape = Shape {
            tokens: rung(rows.len()),
            wanted: rung(wanted.len()),
            items: items.next_power_of_two().max(8),
        };
        let room = rows.iter().map(|row| most_parts(row.position + 1)).max().unwrap_or(0);
        let header = [rows.len(), wanted.len(), items, whole.len(), room, 0, 0, 0];
        let mut words: Vec<u32> = header.map(|word| word as u32).to_vec();
        let mut array = |room: usize, values: &mut dyn Iterator<Item = u32>| {
            let end = words.len() + room;
            words.extend(values);
            words.resize(end, 0);
        };
        let page = |row: &Row| spans[row.span].pages[row.position / PAGE] as usize;
        array(shape.tokens, &mut rows.iter().map(|row| row.token));
        array(shape.tokens, &mut rows.iter().map(|row| row.position as u32));
        array(shape.tokens, &mut rows.iter().map(|row| (page(row) * PAGE + row.position % PAGE) as u32));
        array(shape.tokens, &mut rows.iter().map(|row| row.position as u32 + 1));
        array(shape.wanted, &mut wanted.iter().map(|&(token, _)| token));
        array(shape.wanted, &mut wanted.iter().map(|&(_, row)| row));
        // Pieces are read 16 bytes at a time.
        let padding = words.len().next_multiple_of(PIECE_WORDS) - words.len();
        words.resize(words.len() + padding, 0);
        let (begin, mut listed) = (words.len(), 0);
        for piece in whole.iter().chain(&single) {
            for (i, &page) in piece.pages.iter().enumerate() {
                words.extend([page, (piece.start + i * PAGE) as u32, listed, piece.tokens.len() as u32]);
            }
            listed += piece.tokens.len() as u32;
        }
        // The last item may have fewer pieces: those of no tokens are not computed.
        words.resize(begin + shape.items * ITEM_WORDS, 0);
        words.extend(whole.iter().chain(&single).flat_map(|piece| &piece.tokens));
        Self { shape, words }
    }

    /// Words that passes of rows with so many unfinished sums in all may need.
    pub fn most_words(parts: usize) -> usize {
        // A whole chunk may be an item of its own for each row, and so may each four single pages.
        HEADER + 6 * MOST_ROWS + PIECE_WORDS + (parts + 1).next_power_of_two().max(8) * ITEM_WORDS + parts
    }

    /// Copies it to the device. Kernels of a pass read it without waiting for the kernel before them, so nothing but a copy
    /// may write it.
    pub fn write(&self, staging: &mut Staging<u32>, memory: &Buffer<u32>) -> Result<(), ModelError> {
        staging.write(memory, &self.words)
    }
}

impl Shape {
    /// Where the parts lie.
    pub fn places(&self, memory: &Buffer<u32>) -> Places {
        let array = |i: usize| memory.at(HEADER + i * self.tokens);
        let wanted = HEADER + 4 * self.tokens;
        let items = (wanted + 2 * self.wanted).next_multiple_of(PIECE_WORDS);
        Places {
            pass: memory.at(0),
            tokens: array(0),
            positions: array(1),
            places: array(2),
            lengths: array(3),
            wanted_tokens: memory.at(wanted),
            wanted_rows: memory.at(wanted + self.wanted),
            items: memory.at(items),
            list: memory.at(items + self.items * ITEM_WORDS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LogitRows;

    fn rows_of(spans: &[Span<'_>]) -> Vec<Row> {
        let row = |span, i: usize, s: &Span<'_>| Row {
            span,
            token: s.tokens[i],
            position: s.start + i,
            logits: None,
        };
        spans.iter().enumerate().flat_map(|(n, s)| (0..s.tokens.len()).map(move |i| row(n, i, s))).collect()
    }

    fn told(spans: &[Span<'_>], group: usize) -> Vec<(usize, Vec<u32>, Vec<u32>)> {
        let pieces = pieces(&rows_of(spans), spans, group);
        pieces.into_iter().map(|piece| (piece.start, piece.pages, piece.tokens)).collect()
    }

    #[test]
    fn branches_share_what_pages_they_have_in_common() {
        // Two branches over the same full chunk and one page of the next, and another sequence.
        let (a, b, c) = ([0, 1, 2, 3, 4, 7], [0, 1, 2, 3, 4, 8], [9, 10, 11, 12, 13, 14]);
        let span = |pages| Span { tokens: &[5], start: 165, pages, logits: LogitRows::Last };
        let expected = [
            (0, vec![0, 1, 2, 3], vec![0, 2]),
            (128, vec![4], vec![0, 2]),
            (160, vec![7], vec![0]),
            (0, vec![9, 10, 11, 12], vec![1]),
            (128, vec![13], vec![1]),
            (160, vec![14], vec![1]),
            (160, vec![8], vec![2]),
        ];
        assert_eq!(told(&[span(&a[..]), span(&c[..]), span(&b[..])], 2), expected);
    }

    #[test]
    fn every_row_of_a_prompt_sees_its_positions_once() {
        let tokens = [1u32; 200];
        let pages: Vec<u32> = (10..18).collect();
        let spans = [Span { tokens: &tokens, start: 50, pages: &pages, logits: LogitRows::None }];
        let pieces = told(&spans, 1);
        assert!(pieces.iter().all(|(_, _, tokens)| tokens.len() <= PIECE_ROWS));
        for row in 0..200 {
            let mut seen: Vec<usize> = Vec::new();
            for (start, pages, tokens) in &pieces {
                if tokens.contains(&row) {
                    assert!(pages.iter().zip(start / PAGE..).all(|(page, i)| *page == 10 + i as u32));
                    seen.extend((0..pages.len()).map(|i| start / PAGE + i));
                    // Whole chunks lie before the row's own.
                    let own = (50 + row as usize) / CHUNK;
                    assert_eq!(pages.len() == BLOCK_PAGES, start / CHUNK < own);
                }
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..=(50 + row as usize) / PAGE).collect::<Vec<_>>());
        }
    }
}
