//! The coder role: proposes continuations of a prefix, with the model.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::SessionError;
use super::lines::{self, Line, LineStop};
use crate::engine::{
    Alternatives, Client, Finish, Generate, Generated, Guidance, Guide, RngKey, Sampler, Sampling, Sequence,
    Usage,
};
use crate::model::tokenizer::Tokenizer;

/// What is asked of the coder.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The program so far.
    pub prefix: &'a str,
    /// Number of continuations.
    pub n: usize,
    /// How they relate.
    pub sampler: Sampler,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Key of the step.
    pub key: RngKey,
    /// Lines at most; `None`: until the text ends.
    pub lines: Option<usize>,
    /// Count a multi-line string as one line.
    pub logical: bool,
    /// The program stands in a code fence, whose end ends it.
    pub fenced: bool,
    /// Tokens at most.
    pub max_tokens: usize,
    /// Leading alternatives to report a token.
    pub alternatives: usize,
}

/// A continuation.
#[derive(Debug)]
pub struct Proposal {
    /// Its text, without a closing fence.
    pub text: String,
    /// Its first line.
    pub line: Line,
    /// The tokens of `text`.
    pub tokens: Vec<u32>,
    /// Their log-probabilities under the plain stream; the token that ended the text is counted too.
    pub logprobs: Vec<f32>,
    /// Leading alternatives at each, when asked for.
    pub alternatives: Vec<Alternatives>,
    /// Why it ended.
    pub finish: Finish,
    /// The prefix with everything generated appended.
    pub sequence: Sequence,
}

/// Proposes continuations.
pub trait Coder: Send + Sync {
    /// Starts a sequence with a prompt.
    ///
    /// # Errors
    /// The prompt has tokens that the model does not know.
    fn begin(&self, prompt: &[u32]) -> Result<Sequence, SessionError>;

    /// Continues a trunk in several ways.
    ///
    /// # Errors
    /// The engine fails or is interrupted.
    fn propose(&self, trunk: &Sequence, ask: &Ask<'_>) -> Result<(Vec<Proposal>, Usage), SessionError>;

    /// Continues a trunk in one way under guidance by a conditional sequence; returns that one too, grown by the
    /// same tokens. `drafts` are continuations that may be the very one; they save forward passes.
    ///
    /// # Errors
    /// As [`Coder::propose`].
    fn guide(
        &self,
        plain: Sequence,
        conditional: Sequence,
        guidance: Guidance,
        drafts: Vec<Vec<u32>>,
        ask: &Ask<'_>,
    ) -> Result<(Proposal, Sequence, Usage), SessionError>;
}

/// The coder over our engines; a session stays with one of them.
pub struct EngineCoder {
    clients: Vec<Client>,
    /// Sequences so far.
    begun: AtomicUsize,
    tokenizer: Arc<Tokenizer>,
}

impl EngineCoder {
    /// Reads the engines' tokens with their model's tokenizer.
    pub fn new(clients: Vec<Client>, tokenizer: Arc<Tokenizer>) -> Self {
        Self { clients, begun: AtomicUsize::new(0), tokenizer }
    }

    fn stop(&self, ask: &Ask<'_>) -> Box<LineStop> {
        Box::new(LineStop::new(self.tokenizer.clone(), ask.prefix, ask.lines, ask.logical, ask.fenced))
    }

    fn proposal(&self, ask: &Ask<'_>, generated: Generated) -> Proposal {
        let Generated { mut tokens, logprobs, alternatives, finish, sequence } = generated;
        let open_line = ask.prefix.rsplit('\n').next().unwrap_or_default();
        let line = lines::first_line(&self.tokenizer, open_line, &tokens, finish);
        tokens.truncate(lines::program_tokens(&self.tokenizer, open_line, &tokens, finish));
        let text = lines::text_of(&self.tokenizer, &tokens);
        Proposal { text, line, tokens, logprobs, alternatives, finish, sequence }
    }
}

impl Coder for EngineCoder {
    fn begin(&self, prompt: &[u32]) -> Result<Sequence, SessionError> {
        // In turns; which engine it is changes no result. What is forked from the sequence stays there.
        let turn = self.begun.fetch_add(1, Ordering::Relaxed) % self.clients.len();
        Ok(self.clients[turn].sequence(prompt)?)
    }

    fn propose(&self, trunk: &Sequence, ask: &Ask<'_>) -> Result<(Vec<Proposal>, Usage), SessionError> {
        let request = Generate {
            n: ask.n,
            sampler: ask.sampler,
            sampling: ask.sampling,
            key: ask.key,
            stop: self.stop(ask),
            max_tokens: ask.max_tokens,
            alternatives: ask.alternatives,
        };
        let (generated, usage) = trunk.client().generate(trunk, request)?;
        Ok((generated.into_iter().map(|g| self.proposal(ask, g)).collect(), usage))
    }

    fn guide(
        &self,
        plain: Sequence,
        conditional: Sequence,
        guidance: Guidance,
        drafts: Vec<Vec<u32>>,
        ask: &Ask<'_>,
    ) -> Result<(Proposal, Sequence, Usage), SessionError> {
        let request = Guide {
            guidance,
            sampling: ask.sampling,
            key: ask.key,
            stop: self.stop(ask),
            max_tokens: ask.max_tokens,
            alternatives: ask.alternatives,
            drafts,
        };
        let (generated, conditional, usage) = plain.client().clone().guide(plain, conditional, request)?;
        Ok((self.proposal(ask, generated), conditional, usage))
    }
}
