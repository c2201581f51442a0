//! The engine: sequences through a model.
//!
//! One thread owns the model. Sessions hold a [`Client`] and ask for things (generate, guide, score); each turn
//! the engine packs what all of them wait for into one forward pass. What a request returns never depends on
//! what else was in the pass.

pub mod client;
mod job;
pub mod pages;
mod prefix;
mod scheduler;
mod sequence;

use crate::model::ModelError;

pub use crate::model::sampling::{Alternatives, Guidance, RngKey, Sampling};
pub use client::{Client, Engine, EngineOptions, Sequence, Stats};
pub use job::{Finish, Generate, Generated, Guide, Sampler, StopRule, Usage};

/// Why the engine could not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// No page is free.
    #[error(
        "out of memory for keys and values: all {pages} pages of {page_len} tokens are in use; give more with --kv-memory (on a GPU with --gpu-memory), or run fewer sessions or candidates at once"
    )]
    OutOfPages {
        /// Pages there are.
        pages: usize,
        /// Tokens a page.
        page_len: usize,
    },
    /// A sequence is longer than the model's context.
    #[error("a sequence of {tokens} tokens does not fit the model's context of {context}")]
    ContextFull {
        /// Its length.
        tokens: usize,
        /// What the model can hold.
        context: usize,
    },
    /// There is nothing to continue.
    #[error("an empty sequence cannot be continued")]
    Empty,
    /// A token is not in the vocabulary.
    #[error("token {token} is not in the vocabulary of {vocab}: tokenizer and model do not belong together")]
    UnknownToken {
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// The model could not compute what was asked of it.
    #[error("the model failed: {0}")]
    Model(String),
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// The engine's thread ended.
    #[error("the engine stopped: {0}")]
    Stopped(String),
}

impl From<ModelError> for EngineError {
    fn from(error: ModelError) -> Self {
        Self::Model(error.to_string())
    }
}
