//! The engine's thread: takes requests, packs what they wait for into forward passes, has the model choose their tokens.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, TryRecvError};

use super::EngineError;
use super::client::{EngineOptions, Message, Sequence, Stats};
use super::job::{GenerateJob, GuideJob, Job, MAX_DRAFT, PREFILL_CHUNK, Rows, ScoreJob, Wait};
use super::sequence::{SequenceId, State, Store};
use crate::model::sampling::{Logprobs, Selection};
use crate::model::{LanguageModel, LogitRows, Span};
use crate::team::Team;

/// Runs until the last client is gone or asks to stop.
pub(super) fn run(
    model: Box<dyn LanguageModel>,
    options: EngineOptions,
    receiver: Receiver<Message>,
    stats: &Stats,
) {
    let team = Team::new(options.threads);
    let store = Store::new(model, options.prefix_cache);
    let mut scheduler = Scheduler { store, jobs: Vec::new(), options };
    team.install(|| scheduler.serve(&receiver, stats));
}

struct Scheduler {
    store: Store,
    jobs: Vec<Box<dyn Job + Send>>,
    options: EngineOptions,
}

/// A part of a forward pass: the next `count` pending tokens of a sequence.
struct Part {
    id: SequenceId,
    job: usize,
    count: usize,
    /// How many of the last rows are wanted.
    wanted: usize,
    /// They stay with the sequence rather than go to the job.
    stays: bool,
}

/// Pending tokens of a sequence that is decoding: the last token, and what is guessed to follow.
const DECODING_ROWS: usize = 1 + MAX_DRAFT;

/// Rows of prompts in a pass that others wait for at their next tokens. Few enough that these do not stall, and many
/// enough that the weights are read for something.
const PREFILL_BESIDE_DECODING: usize = 128;

/// Rows that jobs take in one pass, all together: each is as long as the vocabulary.
const TAKEN_ROWS: usize = 256;

impl Scheduler {
    fn serve(&mut self, receiver: &Receiver<Message>, stats: &Stats) {
        loop {
            // Wait when there is nothing to do; otherwise take what is there and go on.
            if self.jobs.is_empty() {
                match receiver.recv() {
                    Ok(Message::Shutdown) | Err(_) => return,
                    Ok(message) => self.accept(message),
                }
            }
            loop {
                match receiver.try_recv() {
                    Ok(Message::Shutdown) | Err(TryRecvError::Disconnected) => {
                        self.fail_all(&EngineError::Stopped("it was shut down".into()));
                        return;
                    }
                    Ok(message) => self.accept(message),
                    Err(TryRecvError::Empty) => break,
                }
            }
            if self.options.interrupt.load(Relaxed) {
                self.fail_all(&EngineError::Interrupted);
            }
            if let Err(error) = self.turn(stats) {
                self.fail_all(&error);
            }
            stats.cached_tokens.store(self.store.cached_tokens(), Relaxed);
            stats.pages_in_use.store(self.store.pages_in_use(), Relaxed);
            stats.sequences.store(self.store.sequences(), Relaxed);
        }
    }

    fn accept(&mut self, message: Message) {
        let store = &mut self.store;
        match message {
            Message::Create { id, tokens } => store.create(id, tokens),
            Message::Fork { parent, id, len } => store.fork(parent, id, len),
            Message::Append { id, tokens } => store.append(id, &tokens),
            Message::Free { id } => store.free(id),
            Message::Generate { trunk, request, client, reply } => {
                let handle = Box::new(move |id, len| Sequence::adopt(client.clone(), id, len));
                self.jobs.push(Box::new(GenerateJob::new(request, trunk, store, handle, reply)));
            }
            Message::Guide { plain, conditional, request, reply } => {
                self.jobs.push(Box::new(GuideJob::new(request, plain, conditional, store, reply)));
            }
            Message::Score { parent, tokens, reply } => {
                // The last token of the parent is read again: its row scores the first of `tokens`.
                let parent_tokens = store.get(parent).tokens.clone();
                let (id, split) = (store.internal_id(), parent_tokens.len().saturating_sub(1));
                store.fork(parent, id, split);
                store.append(id, &parent_tokens[split..]);
                store.find_prefix(id);
                store.append(id, &tokens);
                self.jobs.push(Box::new(ScoreJob::new(id, split, tokens, reply)));
            }
            Message::Shutdown => {}
        }
    }

    fn fail_all(&mut self, error: &EngineError) {
        for mut job in self.jobs.drain(..) {
            job.fail(&mut self.store, error.clone());
        }
    }

    /// One forward pass for everybody who waits, one choice of tokens for everybody who can take a step, and the steps.
    /// An error is the model's, and everybody's.
    fn turn(&mut self, stats: &Stats) -> Result<(), EngineError> {
        let parts = self.plan()?;
        if !parts.is_empty() {
            self.pass(&parts, stats)?;
        }
        let ready: Vec<usize> =
            (0..self.jobs.len()).filter(|&job| self.jobs[job].is_ready(&self.store)).collect();
        let mut chains: Vec<Vec<Selection>> = Vec::new();
        let mut counts = Vec::with_capacity(ready.len());
        for &job in &ready {
            let before = chains.len();
            chains.extend(self.jobs[job].selections(&self.store));
            counts.push(chains.len() - before);
        }
        // Steps that need no token are taken too.
        let selected = if chains.is_empty() { Vec::new() } else { self.store.model.select(&chains)? };
        let mut selected = selected.into_iter();
        // The rows that nobody else holds are free for the next pass.
        drop(chains);
        let mut done = Vec::new();
        for (job, count) in ready.into_iter().zip(counts) {
            let progress = self.jobs[job].step(&mut self.store, selected.by_ref().take(count).collect());
            stats.generated_tokens.fetch_add(progress.new_tokens as u64, Relaxed);
            if progress.done {
                done.push(job);
            }
        }
        for job in done.into_iter().rev() {
            self.jobs.remove(job);
        }
        Ok(())
    }

    /// Chooses the parts of the next pass. When pages run out, guesses are the first to go; then the request that
    /// found none fails.
    fn plan(&mut self) -> Result<Vec<Part>, EngineError> {
        loop {
            let (job, error) = match self.try_plan() {
                Ok(parts) => return Ok(parts),
                Err((_, error @ EngineError::Model(_))) => return Err(error),
                Err(failed) => failed,
            };
            let store = &mut self.store;
            if !self.jobs.iter_mut().any(|job| job.retract(store)) {
                self.jobs.remove(job).fail(store, error);
            }
        }
    }

    /// Requests that are decoding first, so that they do not wait for others' prompts, then prompts in pieces, smaller
    /// ones beside decoding. An error comes with the job that it is for.
    fn try_plan(&mut self) -> Result<Vec<Part>, (usize, EngineError)> {
        let mut parts: Vec<Part> = Vec::new();
        let mut budget = self.options.max_batch_rows.max(1);
        let mut taken = 0;
        for decoding in [true, false] {
            if !decoding && !parts.is_empty() {
                budget = budget.min(PREFILL_BESIDE_DECODING);
            }
            for (job, request) in self.jobs.iter().enumerate() {
                let waits = request.waits_for();
                let pending = |wait: &Wait| self.store.get(wait.id).pending();
                if waits.iter().all(|wait| pending(wait) <= DECODING_ROWS) != decoding {
                    continue;
                }
                for Wait { id, rows } in waits {
                    let state = self.store.get(id);
                    let pending = state.pending();
                    let mut count = pending.min(PREFILL_CHUNK).min(budget);
                    let mut wanted = match rows {
                        Rows::Last => usize::from(count == pending),
                        Rows::From(position) => (state.computed + count).saturating_sub(position).min(count),
                    };
                    let stays = matches!(rows, Rows::Last);
                    if !stays {
                        let too_many = wanted.saturating_sub(TAKEN_ROWS - taken);
                        (count, wanted) = (count - too_many, wanted - too_many);
                        taken += wanted;
                    }
                    if count == 0 {
                        continue;
                    }
                    self.store.make_room(id, count).map_err(|error| (job, error))?;
                    budget -= count;
                    parts.push(Part { id, job, count, wanted, stays });
                }
            }
        }
        Ok(parts)
    }

    fn pass(&mut self, parts: &[Part], stats: &Stats) -> Result<(), EngineError> {
        let (model, states) = self.store.split();
        let spans: Vec<Span<'_>> = parts.iter().flat_map(|part| part.spans(&states[&part.id])).collect();
        let mut rows = model.forward(&spans)?.into_iter();
        for part in parts {
            let mut wanted: Vec<Logprobs> = rows.by_ref().take(part.wanted).collect();
            let last = if part.stays { wanted.pop() } else { None };
            if !part.stays {
                self.jobs[part.job].take_rows(part.id, wanted);
            }
            self.store.advance(part.id, part.count, last);
        }
        stats.forward_passes.fetch_add(1, Relaxed);
        stats.rows.fetch_add(parts.iter().map(|p| p.count as u64).sum(), Relaxed);
        Ok(())
    }
}

impl Part {
    /// The part as the model takes it. Where some of the last rows are wanted, these are a span of their own.
    fn spans<'a>(&self, state: &'a State) -> impl Iterator<Item = Span<'a>> {
        let span = move |from: usize, until: usize, logits| Span {
            tokens: &state.tokens[from..until],
            start: from,
            pages: &state.pages,
            logits,
        };
        let (start, end) = (state.computed, state.computed + self.count);
        let [first, second] = match self.wanted {
            0 => [Some(span(start, end, LogitRows::None)), None],
            1 => [Some(span(start, end, LogitRows::Last)), None],
            n if n == self.count => [Some(span(start, end, LogitRows::All)), None],
            n => [Some(span(start, end - n, LogitRows::None)), Some(span(end - n, end, LogitRows::All))],
        };
        first.into_iter().chain(second)
    }
}
