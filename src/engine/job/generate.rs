//! Continuing one sequence in several ways: samples, beams, stochastic beams.

use std::sync::mpsc::Sender;

use serde::{Deserialize, Serialize};

use super::{Finish, Generated, Job, Lane, Limit, Progress, Rows, StopRule, Usage, Wait, count_passes};
use crate::engine::EngineError;
use crate::engine::client::Sequence;
use crate::engine::sequence::{SequenceId, Store};
use crate::model::sampling::{Choice, Chosen, RngKey, Sampling, Selected, Selection};

/// How the branches of one request relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampler {
    /// Independent samples.
    #[default]
    Temperature,
    /// The most probable continuations (beam search; temperature and cuts do not apply).
    Beam,
    /// Samples without replacement (Gumbel top-k, Kool, van Hoof & Welling 2019): no two branches are equal.
    StochasticBeam,
}

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

    /// The lanes at their beginning, which is the trunk.
    fn first_lanes(&self) -> Vec<Lane> {
        let lanes = if self.sampler == Sampler::Temperature { self.n } else { 1 };
        (0..lanes as u64).map(|index| Lane::new(self.trunk, self.key.with(index))).collect()
    }

    fn selection(&self, lane: &Lane, store: &Store) -> Selection {
        let plain = store.get(lane.id).logprobs.clone().expect("a step comes when it is known what follows");
        let choice = match self.sampler {
            Sampler::Temperature => {
                let key = lane.key.with(lane.tokens.len() as u64);
                Choice::Draw { sampling: self.sampling, key }
            }
            Sampler::Beam => Choice::Best { n: self.n },
            Sampler::StochasticBeam => {
                let temperature = self.sampling.temperature;
                Choice::Perturbed { n: self.n, temperature, score: lane.score, key: lane.key }
            }
        };
        Selection { plain, guided: None, choice, alternatives: self.limit.alternatives, expects: None }
    }

    /// Independent samples: every live lane has drawn its next token.
    fn sample(&mut self, store: &mut Store, selected: impl Iterator<Item = Selected>) {
        let live = self.lanes.iter_mut().filter(|lane| lane.finish.is_none());
        for (lane, Selected { tokens, leading }) in live.zip(selected) {
            let chosen = tokens[0];
            lane.push(&chosen, leading, &self.limit);
            store.append(lane.id, &[chosen.token]);
            self.usage.generated_tokens += 1;
        }
    }

    /// Beams: the best `n` among all one-token extensions and the finished lanes.
    fn beam(&mut self, store: &mut Store, mut selected: impl Iterator<Item = Selected>) {
        struct Extension {
            lane: usize,
            chosen: Option<Chosen>,
            score: f64,
            rank: f64,
        }
        let stochastic = self.sampler == Sampler::StochasticBeam;
        let (mut extensions, mut leading) = (Vec::new(), Vec::new());
        for (index, lane) in self.lanes.iter().enumerate() {
            if lane.finish.is_some() {
                let rank = if stochastic { lane.gumbel } else { lane.score };
                extensions.push(Extension { lane: index, chosen: None, score: lane.score, rank });
                leading.push(Vec::new());
                continue;
            }
            let Selected { tokens, leading: top } = selected.next().expect("each live lane asked for tokens");
            let max = tokens.first().map_or(0.0, |best| f64::from(best.perturbed));
            extensions.extend(tokens.into_iter().map(|chosen| {
                let score = lane.score + f64::from(chosen.tempered);
                let rank = if stochastic { conditioned(&chosen, max, lane.gumbel) } else { score };
                Extension { lane: index, chosen: Some(chosen), score, rank }
            }));
            leading.push(top);
        }
        extensions.sort_by(|a, b| b.rank.total_cmp(&a.rank));
        extensions.truncate(self.n);

        let mut next = Vec::with_capacity(extensions.len());
        for extension in extensions {
            let parent = &self.lanes[extension.lane];
            let mut lane = parent.clone();
            lane.id = store.internal_id();
            (lane.score, lane.gumbel) = (extension.score, extension.rank);
            let parent_len = store.get(parent.id).tokens.len();
            store.fork(parent.id, lane.id, parent_len);
            if let Some(chosen) = extension.chosen {
                lane.key = lane.key.with(u64::from(chosen.token));
                lane.push(&chosen, leading[extension.lane].clone(), &self.limit);
                store.append(lane.id, &[chosen.token]);
                self.usage.generated_tokens += 1;
            }
            next.push(lane);
        }
        for lane in std::mem::replace(&mut self.lanes, next) {
            store.free(lane.id);
        }
    }
}

/// The perturbed log-probability of an extension of a lane, where `max` is the largest of the lane's, conditioned on that
/// being the lane's own (Kool et al. 2019, algorithm 1 and appendix B.3 for the stable form).
fn conditioned(chosen: &Chosen, max: f64, gumbel: f64) -> f64 {
    let g = f64::from(chosen.perturbed);
    let v = gumbel - g + (-(g - max).exp()).ln_1p();
    gumbel - v.max(0.0) - (-v.abs()).exp().ln_1p()
}

impl Job for GenerateJob {
    fn waits_for(&self) -> Vec<Wait> {
        let wait = |id| Wait { id, rows: Rows::Last };
        if self.lanes.is_empty() {
            return vec![wait(self.trunk)];
        }
        self.lanes.iter().filter(|l| l.finish.is_none()).map(|l| wait(l.id)).collect()
    }

    fn selections(&self, store: &Store) -> Vec<Vec<Selection>> {
        let chain = |lane: &Lane| vec![self.selection(lane, store)];
        if self.lanes.is_empty() {
            return self.first_lanes().iter().map(chain).collect();
        }
        self.lanes.iter().filter(|lane| lane.finish.is_none()).map(chain).collect()
    }

    fn step(&mut self, store: &mut Store, selected: Vec<Vec<Selected>>) -> Progress {
        let before = self.usage.generated_tokens;
        if self.lanes.is_empty() {
            self.lanes = self.first_lanes();
            let len = store.get(self.trunk).tokens.len();
            for lane in &mut self.lanes {
                lane.id = store.internal_id();
                store.fork(self.trunk, lane.id, len);
            }
        }
        let selected = selected.into_iter().flatten();
        match self.sampler {
            Sampler::Temperature => self.sample(store, selected),
            Sampler::Beam | Sampler::StochasticBeam => self.beam(store, selected),
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
