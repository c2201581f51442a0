//! Continuing two sequences by the same tokens, drawn from the mix of what each says.

use std::sync::mpsc::Sender;

use super::{Alternatives, Finish, Job, Lane, Limit, Progress, StopRule, Usage, alternatives, count_passes};
use crate::engine::EngineError;
use crate::engine::guidance::Guidance;
use crate::engine::rng::RngKey;
use crate::engine::sampler::{self, Sampling};
use crate::engine::sequence::{SequenceId, Store};

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
}

/// Runs a [`Guide`]: both streams advance by the same tokens.
pub(in crate::engine) struct GuideJob {
    guidance: Guidance,
    sampling: Sampling,
    limit: Limit,
    plain: SequenceId,
    conditional: SequenceId,
    lane: Lane,
    mixed: Vec<f32>,
    usage: Usage,
    reply: Sender<Result<(GuidedLine, Usage), EngineError>>,
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
        let mut usage = Usage::default();
        for id in [plain, conditional] {
            store.want_logprobs(id);
            usage.prefill_tokens += store.get(id).pending();
        }
        count_passes(&mut usage, store, &[plain, conditional]);
        let Guide { guidance, sampling, key, stop, max_tokens, alternatives } = request;
        let limit = Limit::new(stop, max_tokens, alternatives, store, &[plain, conditional]);
        let lane = Lane::new(plain, key.with(0));
        Self { guidance, sampling, limit, plain, conditional, lane, mixed: Vec::new(), usage, reply }
    }
}

impl Job for GuideJob {
    fn waits_for(&self) -> Vec<SequenceId> {
        vec![self.plain, self.conditional]
    }

    fn step(&mut self, store: &mut Store) -> Progress {
        let (Some(p), Some(q)) =
            (store.get(self.plain).logprobs.clone(), store.get(self.conditional).logprobs.clone())
        else {
            return Progress { new_tokens: 0, done: false };
        };
        self.guidance.mix(&p, &q, &mut self.mixed);
        let key = self.lane.key.with(self.lane.tokens.len() as u64);
        let token = sampler::draw(&self.mixed, self.sampling, key);
        let top = alternatives(&self.mixed, self.limit.alternatives, token, &p, Some(&q));
        self.lane.push(token, p[token as usize], top, &self.limit);
        self.usage.generated_tokens += 1;
        store.append(self.plain, &[token]);
        store.append(self.conditional, &[token]);
        let Some(finish) = self.lane.finish else {
            count_passes(&mut self.usage, store, &[self.plain, self.conditional]);
            return Progress { new_tokens: 1, done: false };
        };
        let (id, key) = (self.lane.id, self.lane.key);
        let lane = std::mem::replace(&mut self.lane, Lane::new(id, key));
        let _ = self.reply.send(Ok((
            GuidedLine {
                tokens: lane.tokens,
                logprobs: lane.logprobs,
                alternatives: lane.alternatives,
                finish,
            },
            self.usage,
        )));
        Progress { new_tokens: 1, done: true }
    }

    fn fail(&mut self, _store: &mut Store, error: EngineError) {
        let _ = self.reply.send(Err(error));
    }
}
