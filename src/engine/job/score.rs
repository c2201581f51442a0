//! Scoring given tokens without generating any.

use std::sync::mpsc::Sender;

use super::{Job, Progress, Rows, Wait};
use crate::engine::EngineError;
use crate::engine::sequence::{SequenceId, Store};

/// Scores the last tokens of a sequence.
pub(in crate::engine) struct ScoreJob {
    id: SequenceId,
    /// Position of the token before them, whose row scores the first of them.
    before: usize,
    tokens: Vec<u32>,
    scores: Vec<f32>,
    reply: Sender<Result<Vec<f32>, EngineError>>,
}

impl ScoreJob {
    /// `id` is a sequence of the engine's own that ends with `tokens`; they and the one before them, at position
    /// `before`, are pending.
    pub(in crate::engine) fn new(
        id: SequenceId,
        before: usize,
        tokens: Vec<u32>,
        reply: Sender<Result<Vec<f32>, EngineError>>,
    ) -> Self {
        Self { id, before, tokens, scores: Vec::new(), reply }
    }
}

impl Job for ScoreJob {
    fn waits_for(&self) -> Vec<Wait> {
        vec![Wait { id: self.id, rows: Rows::From(self.before) }]
    }

    fn take_rows(&mut self, _id: SequenceId, rows: &[&[f32]]) {
        // The last row says what follows, and scores nothing.
        let next = &self.tokens[self.scores.len()..];
        self.scores.extend(rows.iter().zip(next).map(|(row, &token)| row[token as usize]));
    }

    fn step(&mut self, store: &mut Store) -> Progress {
        store.free(self.id);
        let _ = self.reply.send(Ok(std::mem::take(&mut self.scores)));
        Progress { new_tokens: 0, done: true }
    }

    fn fail(&mut self, store: &mut Store, error: EngineError) {
        store.free(self.id);
        let _ = self.reply.send(Err(error));
    }
}
