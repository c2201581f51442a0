//! Requests as small state machines: each says which sequences it waits for, which tokens are to be chosen when all of
//! them know what follows, and takes a step with those.

mod draft;
mod generate;
mod guide;
mod score;

use super::EngineError;
use super::client::Sequence;
use super::sequence::{SequenceId, Store};
use crate::model::sampling::{Alternatives, Chosen, Logprobs, RngKey, Selected, Selection};

pub(super) use draft::MAX_DRAFT;
pub(super) use generate::GenerateJob;
pub use generate::{Generate, Sampler};
pub use guide::Guide;
pub(super) use guide::{GuideJob, GuidedLine};
pub(super) use score::ScoreJob;

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model ended its text.
    EndOfText,
    /// A closing code fence.
    Fence,
    /// As many lines as were asked for.
    Lines,
    /// As many tokens as were allowed, or the context is full.
    Length,
}

/// Decides when a continuation ends.
pub trait StopRule: Send + Sync {
    /// Looks at all tokens generated so far, the newest last.
    fn check(&self, generated: &[u32]) -> Option<Finish>;
}

/// What a request cost. The same whatever else ran beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Forward passes it took part in.
    pub forward_passes: usize,
    /// Tokens that had to be read into the cache before the first new one.
    pub prefill_tokens: usize,
    /// New tokens, over all continuations.
    pub generated_tokens: usize,
    /// Tokens that were guessed ahead and read in the same pass as the token before them.
    pub drafted_tokens: usize,
    /// Those of them that were then drawn: each saved a forward pass.
    pub accepted_tokens: usize,
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.forward_passes += other.forward_passes;
        self.prefill_tokens += other.prefill_tokens;
        self.generated_tokens += other.generated_tokens;
        self.drafted_tokens += other.drafted_tokens;
        self.accepted_tokens += other.accepted_tokens;
    }
}

/// One continuation.
#[derive(Debug)]
pub struct Generated {
    /// Its tokens, the one that ended it included.
    pub tokens: Vec<u32>,
    /// Log-probability of each under the plain stream, at temperature 1.
    pub logprobs: Vec<f32>,
    /// Leading alternatives at each, the chosen token among them; empty unless asked for.
    pub alternatives: Vec<Alternatives>,
    /// Why it ended.
    pub finish: Finish,
    /// The parent with this continuation appended.
    pub sequence: Sequence,
}

/// Tokens of a long prompt in one pass.
pub(super) const PREFILL_CHUNK: usize = 256;

/// What a step of a request came to.
pub(super) struct Progress {
    /// New tokens, over all continuations.
    pub new_tokens: usize,
    /// The request has its answer.
    pub done: bool,
}

/// A sequence whose pending tokens must be computed before a request can go on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    /// The sequence.
    pub id: SequenceId,
    /// What of them the request needs to know.
    pub rows: Rows,
}

/// The rows of log-probabilities that a request needs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rows {
    /// What follows the last token. It stays with the sequence.
    Last,
    /// What follows each token from this position on. The request takes them.
    From(usize),
}

/// A request in the engine.
pub(super) trait Job {
    /// What must be computed before the next step.
    fn waits_for(&self) -> Vec<Wait>;
    /// Takes the rows asked for by [`Rows::From`], in order, pass by pass.
    fn take_rows(&mut self, _id: SequenceId, _rows: Vec<Logprobs>) {}
    /// Whether it can take a step: what it waits for is computed.
    fn is_ready(&self, store: &Store) -> bool {
        self.waits_for().iter().all(|wait| store.get(wait.id).pending() == 0)
    }
    /// The chains of tokens to choose for the next step; asked for when it is ready.
    fn selections(&self, store: &Store) -> Vec<Vec<Selection>>;
    /// Goes further with what was chosen, chain by chain.
    fn step(&mut self, store: &mut Store, selected: Vec<Vec<Selected>>) -> Progress;
    /// Takes back what was appended to sequences on a guess, as pages ran out. Whether there was any.
    fn retract(&mut self, _store: &mut Store) -> bool {
        false
    }
    /// Ends the job with an error.
    fn fail(&mut self, store: &mut Store, error: EngineError);
}

/// Counts the passes that read what is pending, as if this request ran alone and nothing were cached.
fn count_passes(usage: &mut Usage, store: &mut Store, waits: &[Wait]) {
    let longest = waits.iter().map(|wait| store.count(wait.id)).max().unwrap_or(0);
    usage.forward_passes += longest.div_ceil(PREFILL_CHUNK);
}

/// One branch of a generation.
#[derive(Debug, Clone)]
struct Lane {
    id: SequenceId,
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
    alternatives: Vec<Alternatives>,
    finish: Option<Finish>,
    /// Sum of log-probabilities (beams); tempered for the stochastic beam.
    score: f64,
    /// Perturbed score of the stochastic beam.
    gumbel: f64,
    key: RngKey,
}

impl Lane {
    fn new(id: SequenceId, key: RngKey) -> Self {
        Self {
            id,
            tokens: Vec::new(),
            logprobs: Vec::new(),
            alternatives: Vec::new(),
            finish: None,
            score: 0.0,
            gumbel: 0.0,
            key,
        }
    }

    /// Goes on by a token. It is among the alternatives that are reported, wherever it stands.
    fn push(&mut self, chosen: &Chosen, mut leading: Alternatives, limit: &Limit) {
        self.tokens.push(chosen.token);
        self.logprobs.push(chosen.logprob);
        if limit.alternatives > 0 {
            if leading.iter().all(|&(token, ..)| token != chosen.token) {
                leading.push((chosen.token, chosen.logprob, chosen.guided));
            }
            self.alternatives.push(leading);
        }
        let full = self.tokens.len() >= limit.tokens;
        self.finish = limit.stop.check(&self.tokens).or(full.then_some(Finish::Length));
    }
}

/// What ends a lane and what it reports.
struct Limit {
    stop: Box<dyn StopRule>,
    /// Tokens at most: those asked for, or what the context has room for.
    tokens: usize,
    /// Leading alternatives to report a token.
    alternatives: usize,
}

impl Limit {
    /// The limit of a request that continues these sequences.
    fn new(
        stop: Box<dyn StopRule>,
        max_tokens: usize,
        alternatives: usize,
        store: &Store,
        sequences: &[SequenceId],
    ) -> Self {
        let longest = sequences.iter().map(|&id| store.get(id).tokens.len()).max().unwrap_or(0);
        let room = store.model.context().saturating_sub(longest);
        Self { stop, tokens: max_tokens.min(room), alternatives }
    }
}
