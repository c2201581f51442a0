//! The engine's thread: takes requests, packs what they wait for into forward passes, gives them their rows.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, TryRecvError};

use rayon::prelude::*;

use super::EngineError;
use super::client::{EngineOptions, Message, Sequence, Stats};
use super::job::{GenerateJob, GuideJob, Job, PREFILL_CHUNK, ScoreJob};
use super::sequence::{SequenceId, Store};
use crate::model::cpu::ops::log_softmax;
use crate::model::{LanguageModel, LogitRows, Span};

/// Runs until the last client is gone or asks to stop.
pub(super) fn run(
    model: Box<dyn LanguageModel>,
    options: EngineOptions,
    receiver: Receiver<Message>,
    stats: &Stats,
) {
    // The loop itself runs on one of the pool's threads, so a parallel loop starts without a hand-over.
    let threads = rayon::ThreadPoolBuilder::new().num_threads(options.threads.max(1)).build();
    let mut scheduler = Scheduler { store: Store::new(model), jobs: Vec::new(), options, logits: Vec::new() };
    match threads {
        Ok(pool) => pool.install(move || scheduler.serve(&receiver, stats)),
        Err(_) => scheduler.serve(&receiver, stats),
    }
}

struct Scheduler {
    store: Store,
    jobs: Vec<Box<dyn Job + Send>>,
    options: EngineOptions,
    logits: Vec<f32>,
}

/// A part of a forward pass: the next `count` pending tokens of a sequence.
struct Part {
    id: SequenceId,
    job: usize,
    count: usize,
    /// Ends the pending tokens, so the last row says what follows.
    last: bool,
    scores: bool,
}

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
            self.turn(stats);
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
                store.append(id, &tokens);
                self.jobs.push(Box::new(ScoreJob::new(id, tokens.len(), reply)));
            }
            Message::Shutdown => {}
        }
    }

    fn fail_all(&mut self, error: &EngineError) {
        for mut job in self.jobs.drain(..) {
            job.fail(&mut self.store, error.clone());
        }
    }

    /// One forward pass for everybody who waits, then a step of every request that can take one.
    fn turn(&mut self, stats: &Stats) {
        let parts = self.plan();
        if !parts.is_empty() {
            self.pass(&parts, stats);
        }
        let mut index = 0;
        while index < self.jobs.len() {
            let waits = self.jobs[index].waits_for();
            let ready = waits.iter().all(|&id| self.store.get(id).pending() == 0);
            if ready {
                let progress = self.jobs[index].step(&mut self.store);
                stats.generated_tokens.fetch_add(progress.new_tokens as u64, Relaxed);
                if progress.done {
                    self.jobs.remove(index);
                    continue;
                }
            }
            index += 1;
        }
    }

    /// Chooses the parts of the next pass: sequences that lack one token first, so that decoding sessions do not
    /// wait for others' prompts, then prompts in pieces. A request that finds no page for its part fails.
    fn plan(&mut self) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        let mut failed: Vec<(usize, EngineError)> = Vec::new();
        let mut budget = self.options.max_batch_rows.max(1);
        for decoding in [true, false] {
            for (job, request) in self.jobs.iter().enumerate() {
                for id in request.waits_for() {
                    let pending = self.store.get(id).pending();
                    if pending == 0 || (pending == 1) != decoding || failed.iter().any(|(j, _)| *j == job) {
                        continue;
                    }
                    let most = if request.scores() { 64 } else { PREFILL_CHUNK };
                    let count = pending.min(most).min(budget);
                    if count == 0 {
                        continue;
                    }
                    match self.store.make_room(id, count) {
                        Ok(()) => {
                            budget -= count;
                            let last = count == pending;
                            parts.push(Part { id, job, count, last, scores: request.scores() });
                        }
                        Err(error) => failed.push((job, error)),
                    }
                }
            }
        }
        // From the highest index on, so that the lower ones stay valid.
        failed.sort_by_key(|(job, _)| std::cmp::Reverse(*job));
        for (failed, error) in failed {
            self.jobs.remove(failed).fail(&mut self.store, error);
            parts.retain(|p| p.job != failed);
            for part in &mut parts {
                part.job -= usize::from(part.job > failed);
            }
        }
        parts
    }

    fn pass(&mut self, parts: &[Part], stats: &Stats) {
        self.logits.clear();
        let (model, states) = self.store.split();
        let vocab = model.vocab();
        let spans: Vec<Span<'_>> = parts
            .iter()
            .map(|part| {
                let state = &states[&part.id];
                let logits = match (part.scores, part.last) {
                    (true, _) => LogitRows::All,
                    (false, true) => LogitRows::Last,
                    (false, false) => LogitRows::None,
                };
                let tokens = &state.tokens[state.computed..state.computed + part.count];
                Span { tokens, start: state.computed, pages: &state.pages, logits }
            })
            .collect();
        model.forward(&spans, &mut self.logits);
        self.logits.par_chunks_mut(vocab).for_each(log_softmax);

        let mut rows = self.logits.chunks_exact(vocab);
        for part in parts {
            let mut logprobs = None;
            if part.scores {
                let state = self.store.get(part.id);
                let next = &state.tokens[state.computed + 1..];
                let rows: Vec<&[f32]> = rows.by_ref().take(part.count).collect();
                let scores: Vec<f32> = rows.iter().zip(next).map(|(row, &t)| row[t as usize]).collect();
                self.jobs[part.job].take_scores(&scores);
            } else if part.last {
                logprobs = rows.next().map(|row| Arc::new(row.to_vec()));
            }
            self.store.advance(part.id, part.count, logprobs);
        }
        stats.forward_passes.fetch_add(1, Relaxed);
        stats.rows.fetch_add(parts.iter().map(|p| p.count as u64).sum(), Relaxed);
    }
}
