//! Scoring given tokens without generating any.

use std::sync::mpsc::Sender;

use super::{Job, Progress};
use crate::engine::EngineError;
use crate::engine::sequence::{SequenceId, Store};

/// Scores the last tokens of a sequence.
pub(in crate::engine) struct ScoreJob {
    id: SequenceId,
    count: usize,
    scores: Vec<f32>,
    reply: Sender<Result<Vec<f32>, EngineError>>,
}

impl ScoreJob {
    /// `id` is a fork of the engine's own, whose last `count` tokens, and the one before them, are pending.
    pub(in crate::engine) fn new(
        id: SequenceId,
        count: usize,
        reply: Sender<Result<Vec<f32>, EngineError>>,
    ) -> Self {
        Self { id, count, scores: Vec::new(), reply }
    }
}

impl Job for ScoreJob {
    fn waits_for(&self) -> Vec<SequenceId> {
        vec![self.id]
    }

    fn scores(&self) -> bool {
        true
    }

    fn take_scores(&mut self, scores: &[f32]) {
        self.scores.extend_from_slice(scores);
    }

    fn step(&mut self, store: &mut Store) -> Progress {
        store.free(self.id);
        let _ = self.reply.send(Ok(self.scores.split_off(self.scores.len().saturating_sub(self.count))));
        Progress { new_tokens: 0, done: true }
    }

    fn fail(&mut self, store: &mut Store, error: EngineError) {
        store.free(self.id);
        let _ = self.reply.send(Err(error));
    }
}
