//! What a pass is about, as the kernels read it: one piece of device memory, written by one copy.

use std::collections::HashMap;

use super::driver::Buffer;
use crate::model::{ModelError, Span};

/// Positions a page of keys and values.
pub(super) const PAGE: usize = 32;
/// Pages that one piece of work of attention takes.
const CHUNK_PAGES: usize = 4;
/// Positions of such a piece.
const CHUNK: usize = CHUNK_PAGES * PAGE;
/// Query heads that such a piece takes at most, where tokens do not bring more each.
const ITEM_ROWS: usize = 64;
/// Words of an item: `Item` in `attention.cu`.
const ITEM_WORDS: usize = 8;
/// Words before the arrays: `Pass` in `layout.cuh`.
const HEADER: usize = 4;

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
    /// Pieces of work of attention, at most.
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

/// Chunks of a sequence of `positions`.
pub(super) fn chunks(positions: usize) -> usize {
    positions.div_ceil(CHUNK)
}

/// Some tokens that look at a chunk of positions in the same pages.
struct Item {
    chunk: usize,
    pages: [u32; CHUNK_PAGES],
    tokens: Vec<u32>,
}

/// The pieces of work of attention for some rows, where a token has `group` query heads a key head.
fn items(rows: &[Row], spans: &[Span<'_>], group: usize) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    // The last piece for each chunk and its pages.
    let mut open: HashMap<(usize, &[u32]), usize> = HashMap::new();
    let most = (ITEM_ROWS / group).max(1);
    let mut first = 0;
    while first < rows.len() {
        let span = rows[first].span;
        let run = rows[first..].iter().take_while(|row| row.span == span).count();
        let positions = rows[first + run - 1].position + 1;
        let pages = &spans[span].pages[..positions.div_ceil(PAGE)];
        for (chunk, pages) in pages.chunks(CHUNK_PAGES).enumerate() {
            let sees = |row: &&Row| row.position >= chunk * CHUNK;
            let skipped = rows[first..first + run].iter().take_while(|row| !sees(row)).count();
            for token in first + skipped..first + run {
                let item = open.get(&(chunk, pages)).copied().filter(|&item| items[item].tokens.len() < most);
                let item = item.unwrap_or_else(|| {
                    // Pages that no token sees are never read.
                    let pages_or_first = std::array::from_fn(|i| pages.get(i).copied().unwrap_or(pages[0]));
                    items.push(Item { chunk, pages: pages_or_first, tokens: Vec::new() });
                    open.insert((chunk, pages), items.len() - 1);
                    items.len() - 1
                });
                items[item].tokens.push(token as u32);
            }
        }
        first += run;
    }
    items
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
        let items = items(rows, spans, group);
        let wanted: Vec<(u32, u32)> =
            rows.iter().enumerate().filter_map(|(i, row)| Some((i as u32, row.logits?))).collect();
        let shape = Shape {
            tokens: rung(rows.len()),
            wanted: rung(wanted.len()),
            items: items.len().next_power_of_two().max(8),
        };
        let room = rows.iter().map(|row| chunks(row.position + 1)).max().unwrap_or(0);
        let mut words = vec![rows.len() as u32, wanted.len() as u32, items.len() as u32, room as u32];
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
        // Items are read in 16-byte pieces.
        let padding = words.len().next_multiple_of(4) - words.len();
        words.resize(words.len() + padding, 0);
        let (begin, mut listed) = (words.len(), 0);
        for item in &items {
            words.extend(item.pages);
            words.extend([item.chunk as u32, listed, item.tokens.len() as u32, 0]);
            listed += item.tokens.len() as u32;
        }
        words.resize(begin + shape.items * ITEM_WORDS, 0);
        words.extend(items.iter().flat_map(|item| &item.tokens));
        Self { shape, words }
    }

    /// Words that passes of `tokens` rows over `chunks` chunks may need.
    pub fn most_words(tokens: usize, chunks: usize) -> usize {
        let pieces = tokens * chunks;
        HEADER + 6 * rung(tokens) + 4 + pieces.next_power_of_two().max(8) * ITEM_WORDS + pieces
    }

    /// Copies it to the device.
    pub fn write(&self, memory: &Buffer<u32>) -> Result<(), ModelError> {
        memory.write(0, &self.words)
    }
}

impl Shape {
    /// Where the parts lie.
    pub fn places(&self, memory: &Buffer<u32>) -> Places {
        let array = |i: usize| memory.at(HEADER + i * self.tokens);
        let wanted = HEADER + 4 * self.tokens;
        let items = (wanted + 2 * self.wanted).next_multiple_of(4);
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

    #[test]
    fn branches_share_the_chunks_of_their_trunk() {
        // Two branches over the same full chunk, and another sequence.
        let (a, b, c) = ([0, 1, 2, 3, 7], [0, 1, 2, 3, 8], [9, 10, 11, 12, 13]);
        let span = |pages| Span { tokens: &[5], start: 130, pages, logits: LogitRows::Last };
        let spans = [span(&a[..]), span(&c[..]), span(&b[..])];
        let items = items(&rows_of(&spans), &spans, 2);
        let seen: Vec<_> = items.iter().map(|i| (i.chunk, i.pages[0], i.tokens.clone())).collect();
        let expected =
            [(0, 0, vec![0, 2]), (1, 7, vec![0]), (0, 9, vec![1]), (1, 13, vec![1]), (1, 8, vec![2])];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_prompt_is_cut_into_pieces_that_see_what_they_take() {
        let tokens = [1u32; 200];
        let pages: Vec<u32> = (0..8).collect();
        let spans = [Span { tokens: &tokens, start: 50, pages: &pages, logits: LogitRows::None }];
        let items = items(&rows_of(&spans), &spans, 1);
        assert!(items.iter().all(|item| item.tokens.len() <= ITEM_ROWS));
        let of_chunk = |chunk| items.iter().filter(move |i| i.chunk == chunk).flat_map(|i| i.tokens.clone());
        assert_eq!(of_chunk(0).count(), 200);
        // Position 128 is that of row 78.
        assert_eq!(of_chunk(1).collect::<Vec<_>>(), (78..200).collect::<Vec<_>>());
    }
}
