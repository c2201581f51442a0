//! Log-probabilities → tokens: draws, beams' extensions, guidance between two streams.
//!
//! The rows of log-probabilities stay where the model computed them. Who wants tokens says what to choose from which
//! row ([`Selection`]), and gets the few numbers that it needs ([`Selected`]).

pub mod guidance;
pub mod rng;
pub mod sampler;
pub mod selection;

pub use guidance::Guidance;
pub use rng::RngKey;
pub use sampler::Sampling;
pub use selection::{Alternatives, Choice, Chosen, Logprobs, Selected, Selection, select_on_host};
