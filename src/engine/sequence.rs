//! The state of one sequence inside the engine, and of all of them.

use std::collections::HashMap;

use super::EngineError;
use super::pages::PagePool;
use super::prefix::PrefixCache;
use crate::model::LanguageModel;
use crate::model::sampling::Logprobs;

/// Number of a sequence; given out by the client, so that creating and forking need no answer.
pub type SequenceId = u64;

/// Tokens, and how far their keys and values are in the cache.
#[derive(Debug, Default)]
pub struct State {
    /// All tokens.
    pub tokens: Vec<u32>,
    /// The first `computed` tokens are in `pages`.
    pub computed: usize,
    /// How many of the first tokens requests have counted as their cost. Pages that were found in the prefix cache are
    /// counted like computed ones, so that no cost depends on what ran before.
    counted: usize,
    /// Pages of the computed positions, maybe shared with other sequences.
    pub pages: Vec<u32>,
    /// What follows the last token, when it was computed and nothing was appended since.
    pub logprobs: Option<Logprobs>,
}

impl State {
    /// Tokens that are not in the cache yet.
    pub fn pending(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// Tokens that no request has counted yet.
    pub fn uncounted(&self) -> usize {
        self.tokens.len() - self.counted
    }

    /// Makes the pages up to position `until` this sequence's own to write: copies a shared partial page, and
    /// adds pages. On failure the sequence is as before but for pages it may have gained.
    fn make_room(
        &mut self,
        until: usize,
        memory: &mut Memory,
        model: &mut dyn LanguageModel,
    ) -> Result<(), EngineError> {
        let page_len = model.page_len();
        let first = self.computed / page_len;
        for index in first..until.div_ceil(page_len) {
            match self.pages.get(index).copied() {
                Some(page) if memory.pool.is_shared(page) => {
                    let copy = memory.allocate(page_len)?;
                    if index == first && !self.computed.is_multiple_of(page_len) {
                        model.copy_page(page, copy).inspect_err(|_| memory.pool.release(copy))?;
                    }
                    memory.pool.release(page);
                    self.pages[index] = copy;
                }
                Some(_) => {}
                None => self.pages.push(memory.allocate(page_len)?),
            }
        }
        Ok(())
    }
}

/// The pages, and those of them that are kept for later sequences.
struct Memory {
    pool: PagePool,
    prefixes: PrefixCache,
}

impl Memory {
    /// Takes a free page, or one that was kept.
    fn allocate(&mut self, page_len: usize) -> Result<u32, EngineError> {
        loop {
            match self.pool.allocate() {
                Some(page) => return Ok(page),
                None if self.prefixes.evict(&mut self.pool) => {}
                None => return Err(EngineError::OutOfPages { pages: self.pool.total(), page_len }),
            }
        }
    }
}

/// All sequences, their pages, and the model.
pub struct Store {
    /// The model.
    pub model: Box<dyn LanguageModel>,
    memory: Memory,
    states: HashMap<SequenceId, State>,
    internal: SequenceId,
    cached_tokens: u64,
}

impl Store {
    /// An empty store over a model's pages, of which the prefix cache may keep a share.
    pub fn new(model: Box<dyn LanguageModel>, prefix_cache: f64) -> Self {
        let pool = PagePool::new(model.pages());
        let most = (pool.total() as f64 * prefix_cache.clamp(0.0, 1.0)) as usize;
        let memory = Memory { pool, prefixes: PrefixCache::new(model.page_len(), most) };
        // The engine's own sequences (beams) count down from the top, the clients' up from zero.
        Self { model, memory, states: HashMap::new(), internal: SequenceId::MAX, cached_tokens: 0 }
    }

    /// A sequence; the handle that names it keeps it alive.
    pub fn get(&self, id: SequenceId) -> &State {
        &self.states[&id]
    }

    /// Starts a sequence.
    pub fn create(&mut self, id: SequenceId, tokens: Vec<u32>) {
        self.states.insert(id, State { tokens, ..State::default() });
    }

    /// A new number for a sequence of the engine's own.
    pub fn internal_id(&mut self) -> SequenceId {
        self.internal -= 1;
        self.internal
    }

    /// Starts a sequence with the first `len` tokens of another, sharing its pages. Costs no copy: a shared page
    /// is copied when one of the two first writes to it.
    pub fn fork(&mut self, parent: SequenceId, id: SequenceId, len: usize) {
        let page_len = self.model.page_len();
        let Some(parent) = self.states.get(&parent) else { return self.create(id, Vec::new()) };
        let len = len.min(parent.tokens.len());
        let computed = parent.computed.min(len);
        let child = State {
            tokens: parent.tokens[..len].to_vec(),
            computed,
            counted: parent.counted.min(len),
            pages: parent.pages[..computed.div_ceil(page_len)].to_vec(),
            logprobs: parent.logprobs.clone().filter(|_| len == parent.tokens.len()),
        };
        child.pages.iter().for_each(|&page| self.memory.pool.retain(page));
        self.states.insert(id, child);
    }

    /// Appends tokens, to be computed by the next pass.
    pub fn append(&mut self, id: SequenceId, tokens: &[u32]) {
        if let Some(state) = self.states.get_mut(&id)
            && !tokens.is_empty()
        {
            state.tokens.extend_from_slice(tokens);
            state.logprobs = None;
        }
    }

    /// Takes a sequence back to its first `len` tokens and gives up the pages beyond them. Whether it was longer.
    /// What a last, partial page holds after them is written over by what comes next, in a copy if it is shared.
    pub fn truncate(&mut self, id: SequenceId, len: usize) -> bool {
        let page_len = self.model.page_len();
        let Some(state) = self.states.get_mut(&id).filter(|state| state.tokens.len() > len) else {
            return false;
        };
        state.tokens.truncate(len);
        state.computed = state.computed.min(len);
        state.counted = state.counted.min(len);
        state.logprobs = None;
        let kept = state.computed.div_ceil(page_len).min(state.pages.len());
        state.pages.drain(kept..).for_each(|page| self.memory.pool.release(page));
        true
    }

    /// Makes sure that a pass over the pending tokens will say what follows: recomputes the last one if needed. Of
    /// the others, those are not pending any more whose pages are found in the prefix cache.
    pub fn want_logprobs(&mut self, id: SequenceId) {
        if let Some(state) = self.states.get_mut(&id)
            && state.pending() == 0
            && state.logprobs.is_none()
        {
            state.computed = state.computed.saturating_sub(1);
            state.counted = state.counted.min(state.computed);
        }
        self.find_prefix(id);
    }

    /// Takes from the prefix cache what it has of the pending tokens, but for the last one.
    pub fn find_prefix(&mut self, id: SequenceId) {
        let page_len = self.model.page_len();
        let Some(state) = self.states.get_mut(&id) else { return };
        let wanted = state.tokens.len().saturating_sub(1);
        if wanted / page_len <= state.computed / page_len {
            return;
        }
        let found = self.memory.prefixes.find(&state.tokens[..wanted]);
        let cached = found.len() * page_len;
        if cached > state.computed {
            let first = state.computed / page_len;
            found[first..].iter().for_each(|&page| self.memory.pool.retain(page));
            state.pages.drain(first..).for_each(|page| self.memory.pool.release(page));
            state.pages.extend_from_slice(&found[first..]);
            self.cached_tokens += (cached - state.computed) as u64;
            state.computed = cached;
        }
    }

    /// Counts the tokens of a sequence that no request has counted yet.
    pub fn count(&mut self, id: SequenceId) -> usize {
        self.states.get_mut(&id).map_or(0, |state| {
            let uncounted = state.uncounted();
            state.counted = state.tokens.len();
            uncounted
        })
    }

    /// Ends a sequence and gives up its pages; the prefix cache may keep the full ones.
    pub fn free(&mut self, id: SequenceId) {
        if let Some(state) = self.states.remove(&id) {
            let Memory { pool, prefixes } = &mut self.memory;
            prefixes.keep(&state.tokens[..state.computed], &state.pages, pool);
            state.pages.iter().for_each(|&page| pool.release(page));
        }
    }

    /// Prepares the next `count` pending tokens of a sequence to be written.
    pub fn make_room(&mut self, id: SequenceId, count: usize) -> Result<(), EngineError> {
        let context = self.model.context();
        let Some(state) = self.states.get_mut(&id) else { return Ok(()) };
        let until = state.computed + count;
        if until > context {
            return Err(EngineError::ContextFull { tokens: state.tokens.len(), context });
        }
        state.make_room(until, &mut self.memory, &mut *self.model)
    }

    /// Records that `count` more tokens are computed, and what follows when they are all.
    pub fn advance(&mut self, id: SequenceId, count: usize, logprobs: Option<Logprobs>) {
        if let Some(state) = self.states.get_mut(&id) {
            state.computed += count;
            state.logprobs = logprobs;
        }
    }

    /// The model and the sequences, apart, for a forward pass.
    pub fn split(&mut self) -> (&mut dyn LanguageModel, &HashMap<SequenceId, State>) {
        (&mut *self.model, &self.states)
    }

    /// Pages in use, shared ones counted once.
    pub fn pages_in_use(&self) -> usize {
        self.memory.pool.in_use()
    }

    /// Tokens that were found in the prefix cache so far.
    pub fn cached_tokens(&self) -> u64 {
        self.cached_tokens
    }

    /// Number of sequences.
    pub fn sequences(&self) -> usize {
        self.states.len()
    }
}
