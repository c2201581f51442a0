//! Continuing two sequences by the same tokens, drawn from the mix of what each says.
//!
//! Where drafts guess the next tokens, both streams read the guess in one pass, and its rows draw as many tokens as it
//! had right, and one more. Each is drawn from the same row with the same key as without a guess, and the streams are
//! taken back to what was drawn: so a guess changes how many passes there are, and nothing else.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;

use super::{Finish, Job, Lane, Limit, Progress, Rows, StopRule, Usage, Wait, count_passes, draft};
use crate::engine::EngineError;
use crate::engine::sequence::{SequenceId, Store};
use crate::model::sampling::{
    Alternatives, Choice, Guidance, Logprobs, RngKey, Sampling, Selected, Selection,
};

/// Asks for one continuation under guidance.
pub struct Guide {
    /// How the two streams are mixed.
    pub guidance: Guidance,
    /// How each token is drawn from the mix.
    pub sampling: Sampling,
    /// Key of the step.
    pub key: RngKey,
    /// When it ends.
    pub stop: Box<dyn StopRule>,
    /// Tokens at most.
    pub max_tokens: usize,
    /// Leading alternatives to report a token.
    pub alternatives: usize,
    /// Continuations that may be the very one to come. They save forward passes and change no result. Where none of
    /// them goes on, the conditional sequence is searched for one. Empty: token by token.
    pub drafts: Vec<Vec<u32>>,
}

/// Runs a [`Guide`]: both streams advance by the same tokens.
pub(in crate::engine) struct GuideJob {
    guidance: Guidance,
    sampling: Sampling,
    limit: Limit,
    drafts: Vec<Vec<u32>>,
    /// The plain one, then the conditional one.
    streams: [Stream; 2],
    /// What is guessed to follow the tokens of the lane. The streams hold it too, unless it was retracted.
    guess: VecDeque<u32>,
    lane: Lane,
    usage: Usage,
    reply: Sender<Result<(GuidedLine, Usage), EngineError>>,
}

/// One of the two sequences.
struct Stream {
    id: SequenceId,
    /// Its length before the first new token.
    base: usize,
    /// What it says of the next token, and of those after the guessed ones.
    rows: Vec<Logprobs>,
}

/// What a guided continuation returns; the client adds the handle.
#[derive(Debug)]
pub(in crate::engine) struct GuidedLine {
    pub tokens: Vec<u32>,
    pub logprobs: Vec<f32>,
    pub alternatives: Vec<Alternatives>,
    pub finish: Finish,
}

impl GuideJob {
    pub(in crate::engine) fn new(
        request: Guide,
        plain: SequenceId,
        conditional: SequenceId,
        store: &mut Store,
        reply: Sender<Result<(GuidedLine, Usage), EngineError>>,
    ) -> Self {
        let Guide { guidance, sampling, key, stop, max_tokens, alternatives, drafts } = request;
        let limit = Limit::new(stop, max_tokens, alternatives, store, &[plain, conditional]);
        let mut usage = Usage::default();
        let streams = [plain, conditional].map(|id| {
            store.want_logprobs(id);
            let state = store.get(id);
            usage.prefill_tokens += state.uncounted();
            Stream { id, base: state.tokens.len(), rows: state.logprobs.iter().cloned().collect() }
        });
        let lane = Lane::new(plain, key.with(0));
        let guess = VecDeque::new();
        let mut job = Self { guidance, sampling, limit, drafts, streams, guess, lane, usage, reply };
        job.guess_on(store);
        job
    }

    /// Goes on by the drawn tokens, as far as the guess was right. Whether the guess still stands.
    fn push(&mut self, drawn: Vec<Selected>) -> bool {
        for Selected { tokens, leading } in drawn {
            let chosen = tokens[0];
            self.lane.push(&chosen, leading, &self.limit);
            if self.lane.finish.is_some() || self.guess.pop_front() != Some(chosen.token) {
                return false;
            }
            self.usage.accepted_tokens += 1;
        }
        true
    }

    /// Makes a new guess, and counts the pass that will check it.
    fn guess_on(&mut self, store: &mut Store) {
        // The row after the last guessed token draws one more.
        let room = self.limit.tokens.saturating_sub(self.lane.tokens.len() + 1);
        if !self.drafts.is_empty() {
            let [_, conditional] = &self.streams;
            let text = &store.get(conditional.id).tokens;
            self.guess = draft::guess(&self.drafts, text, conditional.base, room, &*self.limit.stop).into();
        }
        self.usage.drafted_tokens += self.guess.len();
        self.append(store, &[]);
        let waits = self.waits_for();
        count_passes(&mut self.usage, store, &waits);
    }

    /// Appends a drawn token and the guess after it to both streams.
    fn append(&mut self, store: &mut Store, drawn: &[u32]) {
        for stream in &self.streams {
            store.append(stream.id, drawn);
            store.append(stream.id, self.guess.make_contiguous());
        }
    }
}

impl Job for GuideJob {
    fn waits_for(&self) -> Vec<Wait> {
        // The row of the last drawn token is the first that is wanted.
        let drawn = self.lane.tokens.len();
        let from = |stream: &Stream| stream.base + drawn + stream.rows.len() - 1;
        self.streams.iter().map(|stream| Wait { id: stream.id, rows: Rows::From(from(stream)) }).collect()
    }

    fn take_rows(&mut self, id: SequenceId, rows: Vec<Logprobs>) {
        let stream = self.streams.iter_mut().find(|stream| stream.id == id);
        let stream = stream.expect("rows come for the sequences that the job waits for");
        stream.rows.extend(rows);
    }

    fn selections(&self, _store: &Store) -> Vec<Vec<Selection>> {
        let [plain, conditional] = &self.streams;
        let rows = plain.rows.iter().zip(&conditional.rows);
        // The row after the last guessed token is the last of the chain.
        let guesses = self.guess.iter().copied().map(Some).chain([None]);
        let chain = rows.zip(guesses).zip(self.lane.tokens.len() as u64..);
        let draw = chain.map(|(((p, q), expects), position)| Selection {
            plain: p.clone(),
            guided: Some((q.clone(), self.guidance)),
            choice: Choice::Draw { sampling: self.sampling, key: self.lane.key.with(position) },
            alternatives: self.limit.alternatives,
            expects,
        });
        vec![draw.collect()]
    }

    fn step(&mut self, store: &mut Store, selected: Vec<Vec<Selected>>) -> Progress {
        self.streams.iter_mut().for_each(|stream| stream.rows.clear());
        let before = self.lane.tokens.len();
        let guess_stands = self.push(selected.into_iter().flatten().collect());
        let drawn = self.lane.tokens.len();
        let new_tokens = drawn - before;
        self.usage.generated_tokens += new_tokens;
        // Back to the drawn tokens, the last of which is not computed, as if none had been guessed.
        for stream in &self.streams {
            store.truncate(stream.id, stream.base + drawn - 1);
        }
        let last = self.lane.tokens[drawn - 1];
        let Some(finish) = self.lane.finish else {
            if guess_stands {
                // It was retracted, and its pass is counted.
                self.append(store, &[last]);
            } else {
                self.guess.clear();
                self.append(store, &[last]);
                self.guess_on(store);
            }
            return Progress { new_tokens, done: false };
        };
        self.guess.clear();
        self.append(store, &[last]);
        let lane = std::mem::replace(&mut self.lane, Lane::new(self.streams[0].id, RngKey::new(0)));
        let _ = self.reply.send(Ok((
            GuidedLine {
                tokens: lane.tokens,
                logprobs: lane.logprobs,
                alternatives: lane.alternatives,
                finish,
            },
            self.usage,
        )));
        Progress { new_tokens, done: true }
    }

    fn retract(&mut self, store: &mut Store) -> bool {
        let drawn = self.lane.tokens.len();
        let mut any = false;
        for stream in &mut self.streams {
            any |= store.truncate(stream.id, stream.base + drawn);
            stream.rows.truncate(1);
        }
        any
    }

    fn fail(&mut self, _store: &mut Store, error: EngineError) {
        let _ = self.reply.send(Err(error));
    }
}
