//! Continuing one sequence in several ways: samples, beams, stochastic beams.

use std::sync::mpsc::Sender;

use super::{
    Finish, Generated, Job, Lane, Limit, Progress, Rows, StopRule, Usage, Wait, alternatives, count_passes,
};
use crate::engine::EngineError;
use crate::engine::client::Sequence;
use crate::engine::rng::RngKey;
use crate::engine::sampler::{self, Sampler, Sampling};
use crate::engine::sequence::{Logprobs, SequenceId, Store};
use crate::model::cpu::ops::log_softmax;
use crate::team;

/// Asks for `n` continuations of one sequence.
pub struct Generate {
    /// Number of continuations.
    pub n: usize,
    /// How they relate.
    pub sampler: Sampler,
    /// How each token is drawn.
    pub sampling: Sampling,
    /// Key of the step; candidate and position are mixed in here.
    pub key: RngKey,
    /// When one ends.
    pub stop: Box<dyn StopRule>,
    /// Tokens at most.
    pub max_tokens: usize,
    /// Leading alternatives to report a token; asking for more changes nothing else.
    pub alternatives: usize,
}

/// Runs a [`Generate`].
pub(in crate::engine) struct GenerateJob {
    n: usize,
    sampler: Sampler,
    sampling: Sampling,
    key: RngKey,
    limit: Limit,
    trunk: SequenceId,
    /// Empty until the trunk is computed.
    lanes: Vec<Lane>,
    usage: Usage,
    make_handle: Box<dyn Fn(SequenceId, usize) -> Sequence + Send>,
    reply: Sender<Result<(Vec<Generated>, Usage), EngineError>>,
}

impl GenerateJob {
    pub(in crate::engine) fn new(
        request: Generate,
        trunk: SequenceId,
        store: &mut Store,
        make_handle: Box<dyn Fn(SequenceId, usize) -> Sequence + Send>,
        reply: Sender<Result<(Vec<Generated>, Usage), EngineError>>,
    ) -> Self {
        store.want_logprobs(trunk);
        let prefill_tokens = store.get(trunk).uncounted();
        let mut usage = Usage { prefill_tokens, ..Usage::default() };
        count_passes(&mut usage, store, &[Wait { id: trunk, rows: Rows::Last }]);
        let Generate { n, sampler, sampling, key, stop, max_tokens, alternatives } = request;
        let limit = Limit::new(stop, max_tokens, alternatives, store, &[trunk]);
        Self { n, sampler, sampling, key, limit, trunk, lanes: Vec::new(), usage, make_handle, reply }
    }

    /// Independent samples: every live lane draws its next token.
    fn sample(&mut self, store: &mut Store) {
        let (sampling, limit) = (self.sampling, &self.limit);
        let drawing: Vec<(&mut Lane, Logprobs)> = self
            .lanes
            .iter_mut()
            .filter(|l| l.finish.is_none())
            .filter_map(|l| store.get(l.id).logprobs.clone().map(|p| (l, p)))
            .collect();
        let drawn: Vec<(SequenceId, u32)> = team::map(drawing.into_iter(), |(lane, p)| {
            let token = sampler::draw(&p, sampling, lane.key.with(lane.tokens.len() as u64));
            let top = alternatives(&p, limit.alternatives, token, &p, None);
            lane.push(token, p[token as usize], top, limit);
            (lane.id, token)
        });
        self.usage.generated_tokens += drawn.len();
        for (id, token) in drawn {
            store.append(id, &[token]);
        }
    }

    /// Beams: the best `n` among all one-token extensions and the finished lanes.
    fn beam(&mut self, store: &mut Store) {
        struct Extension {
            lane: usize,
            token: Option<(u32, f32)>,
            score: f64,
            rank: f64,
        }
        let n = self.n;
        let stochastic = self.sampler == Sampler::StochasticBeam;
        let temperature = if stochastic { self.sampling.temperature } else { 1.0 };
        let inputs: Vec<(usize, &Lane, Option<Logprobs>)> =
            self.lanes.iter().enumerate().map(|(i, l)| (i, l, store.get(l.id).logprobs.clone())).collect();
        let extensions = team::map(inputs.into_iter(), |(index, lane, p)| {
            let rank = if stochastic { lane.gumbel } else { lane.score };
            let Some(p) = p.filter(|_| lane.finish.is_none()) else {
                return vec![Extension { lane: index, token: None, score: lane.score, rank }];
            };
            let tempered = temper(&p, temperature);
            let top: Vec<(u32, f64)> = if stochastic {
                gumbel_top(&tempered, lane, n)
            } else {
                sampler::top_n(&tempered, n)
                    .into_iter()
                    .map(|(t, l)| (t, lane.score + f64::from(l)))
                    .collect()
            };
            top.into_iter()
                .map(|(t, rank)| Extension {
                    lane: index,
                    token: Some((t, p[t as usize])),
                    score: lane.score + f64::from(tempered[t as usize]),
                    rank,
                })
                .collect()
        });
        let mut extensions: Vec<Extension> = extensions.into_iter().flatten().collect();
        extensions.sort_by(|a, b| b.rank.total_cmp(&a.rank));
        extensions.truncate(n);

        let mut next = Vec::with_capacity(extensions.len());
        for extension in extensions {
            let parent = &self.lanes[extension.lane];
            let mut lane = parent.clone();
            lane.id = store.internal_id();
            (lane.score, lane.gumbel) = (extension.score, extension.rank);
            let parent_len = store.get(parent.id).tokens.len();
            let logprobs = store.get(parent.id).logprobs.clone();
            store.fork(parent.id, lane.id, parent_len);
            if let Some((token, logprob)) = extension.token {
                let p = logprobs.as_deref().map_or(&[][..], Vec::as_slice);
                let top = alternatives(p, self.limit.alternatives, token, p, None);
                lane.key = lane.key.with(u64::from(token));
                lane.push(token, logprob, top, &self.limit);
                store.append(lane.id, &[token]);
                self.usage.generated_tokens += 1;
            }
            next.push(lane);
        }
        for lane in std::mem::replace(&mut self.lanes, next) {
            store.free(lane.id);
        }
    }
}

/// The distribution at a temperature, normalised.
fn temper(p: &Logprobs, temperature: f32) -> Vec<f32> {
    if temperature == 1.0 || temperature <= 0.0 {
        return p.to_vec();
    }
    let mut tempered: Vec<f32> = p.iter().map(|l| l / temperature).collect();
    log_softmax(&mut tempered);
    tempered
}

/// The `n` extensions of a lane with the largest Gumbel-perturbed log-probabilities, conditioned on their
/// maximum being the lane's own (Kool et al. 2019, algorithm 1 and appendix B.3 for the stable form).
fn gumbel_top(tempered: &[f32], lane: &Lane, n: usize) -> Vec<(u32, f64)> {
    let perturbed: Vec<f32> = tempered
        .iter()
        .enumerate()
        .map(|(t, &l)| (lane.score + f64::from(l) + lane.key.gumbel(t as u64)) as f32)
        .collect();
    let top = sampler::top_n(&perturbed, n);
    let max = top.first().map_or(0.0, |&(_, g)| f64::from(g));
    top.into_iter()
        .map(|(t, g)| {
            let g = f64::from(g);
            let v = lane.gumbel - g + (-(g - max).exp()).ln_1p();
            (t, lane.gumbel - v.max(0.0) - (-v.abs()).exp().ln_1p())
        })
        .collect()
}

impl Job for GenerateJob {
    fn waits_for(&self) -> Vec<Wait> {
        let wait = |id| Wait { id, rows: Rows::Last };
        if self.lanes.is_empty() {
            return vec![wait(self.trunk)];
        }
        self.lanes.iter().filter(|l| l.finish.is_none()).map(|l| wait(l.id)).collect()
    }

    fn step(&mut self, store: &mut Store) -> Progress {
        let before = self.usage.generated_tokens;
        if self.lanes.is_empty() {
            let lanes = if self.sampler == Sampler::Temperature { self.n } else { 1 };
            let len = store.get(self.trunk).tokens.len();
            for index in 0..lanes as u64 {
                let id = store.internal_id();
                store.fork(self.trunk, id, len);
                self.lanes.push(Lane::new(id, self.key.with(index)));
            }
        }
        match self.sampler {
            Sampler::Temperature => self.sample(store),
            Sampler::Beam | Sampler::StochasticBeam => self.beam(store),
        }
        let new_tokens = self.usage.generated_tokens - before;
        let live = self.waits_for();
        if !live.is_empty() {
            count_passes(&mut self.usage, store, &live);
            return Progress { new_tokens, done: false };
        }
        let generated = std::mem::take(&mut self.lanes)
            .into_iter()
            .map(|lane| Generated {
                sequence: (self.make_handle)(lane.id, store.get(lane.id).tokens.len()),
                tokens: lane.tokens,
                logprobs: lane.logprobs,
                alternatives: lane.alternatives,
                finish: lane.finish.unwrap_or(Finish::Length),
            })
            .collect();
        // A client that is gone drops the handles, and with them the sequences.
        let _ = self.reply.send(Ok((generated, self.usage)));
        Progress { new_tokens, done: true }
    }

    fn fail(&mut self, store: &mut Store, error: EngineError) {
        for lane in self.lanes.drain(..) {
            store.free(lane.id);
        }
        let _ = self.reply.send(Err(error));
    }
}
