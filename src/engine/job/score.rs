//! Scoring given tokens without generating any.

use std::sync::mpsc::Sender;

use super::{Job, Progress, Rows, Wait};
use crate::engine::EngineError;
use crate::engine::sequence::{SequenceId, Store};
use crate::model::sampling::{Choice, Logprobs, Selected, Selection};

/// Scores the last tokens of a sequence.
pub(in crate::engine) struct ScoreJob {
    id: SequenceId,
    /// Position of the token before them, whose row scores the first of them.
    before: usize,
    tokens: Vec<u32>,
    scores: Vec<f32>,
    /// What follows the tokens that were computed since the last step.
    rows: Vec<Logprobs>,
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
        Self { id, before, tokens, scores: Vec::new(), rows: Vec::new(), reply }
    }
}

impl Job for ScoreJob {
    fn waits_for(&self) -> Vec<Wait> {
        vec![Wait { id: self.id, rows: Rows::From(self.before) }]
    }

    fn take_rows(&mut self, _id: SequenceId, rows: Vec<Logprobs>) {
        self.rows.extend(rows);
    }

    /// Does not wait for all rows, as each is as long as the vocabulary.
    fn is_ready(&self, _store: &Store) -> bool {
        !self.rows.is_empty()
    }

    fn selections(&self, _store: &Store) -> Vec<Vec<Selection>> {
        let given = |(row, &token): (&Logprobs, &u32)| Selection {
            plain: row.clone(),
            guided: None,
            choice: Choice::Given { token },
            alternatives: 0,
            expects: None,
        };
        // The last row says what follows, and scores nothing.
        let next = &self.tokens[self.scores.len()..];
        self.rows.iter().zip(next).map(|scored| vec![given(scored)]).collect()
    }

    fn step(&mut self, store: &mut Store, selected: Vec<Vec<Selected>>) -> Progress {
        self.rows.clear();
        let chosen = selected.iter().flatten().flat_map(|selected| &selected.tokens);
        self.scores.extend(chosen.map(|chosen| chosen.logprob));
        if store.get(self.id).pending() > 0 {
            return Progress { new_tokens: 0, done: false };
        }
        store.free(self.id);
        let _ = self.reply.send(Ok(std::mem::take(&mut self.scores)));
        Progress { new_tokens: 0, done: true }
    }

    fn fail(&mut self, store: &mut Store, error: EngineError) {
        store.free(self.id);
        let _ = self.reply.send(Err(error));
    }
}
