//! The sessions' side of the engine: handles to sequences, and requests that wait for their answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use super::job::{Generate, Generated, Guide, GuidedLine, Usage};
use super::sequence::SequenceId;
use super::{EngineError, scheduler};
use crate::model::LanguageModel;

/// What a client asks the engine for.
pub(super) enum Message {
    Create {
        id: SequenceId,
        tokens: Vec<u32>,
    },
    Fork {
        parent: SequenceId,
        id: SequenceId,
        len: usize,
    },
    Append {
        id: SequenceId,
        tokens: Vec<u32>,
    },
    Free {
        id: SequenceId,
    },
    Generate {
        trunk: SequenceId,
        request: Generate,
        client: Client,
        reply: Sender<Result<(Vec<Generated>, Usage), EngineError>>,
    },
    Guide {
        plain: SequenceId,
        conditional: SequenceId,
        request: Guide,
        reply: Sender<Result<(GuidedLine, Usage), EngineError>>,
    },
    Score {
        parent: SequenceId,
        tokens: Vec<u32>,
        reply: Sender<Result<Vec<f32>, EngineError>>,
    },
    Shutdown,
}

/// How the engine runs. Nothing here changes a result.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Threads for one forward pass.
    pub threads: usize,
    /// Rows in one forward pass at most.
    pub max_batch_rows: usize,
    /// Share of the pages that may keep prefixes of sequences that ended, for those that begin alike; they give way
    /// when pages run out. 0: none.
    pub prefix_cache: f64,
    /// Set to end all requests with [`EngineError::Interrupted`].
    pub interrupt: Arc<AtomicBool>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { threads, max_batch_rows: 512, prefix_cache: 0.25, interrupt: Arc::default() }
    }
}

/// What the engine is doing; kept up to date by its thread.
#[derive(Debug, Default)]
pub struct Stats {
    /// Forward passes so far (each may serve many sessions).
    pub forward_passes: AtomicU64,
    /// Rows computed so far.
    pub rows: AtomicU64,
    /// New tokens so far.
    pub generated_tokens: AtomicU64,
    /// Tokens that were not computed, as their keys and values were kept from a sequence that ended.
    pub cached_tokens: AtomicU64,
    /// Pages in use, shared ones counted once.
    pub pages_in_use: AtomicUsize,
    /// Living sequences.
    pub sequences: AtomicUsize,
}

/// The engine's thread. Dropping it ends the thread after the requests it has.
pub struct Engine {
    client: Client,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts the engine over a model.
    pub fn start(model: Box<dyn LanguageModel>, options: EngineOptions) -> Self {
        let (sender, receiver) = mpsc::channel();
        let stats = Arc::new(Stats::default());
        let vocab = model.vocab();
        let client = Client {
            sender,
            next_id: Arc::default(),
            stats: stats.clone(),
            vocab,
            interrupt: options.interrupt.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || scheduler::run(model, options, receiver, &stats))
            .ok();
        Self { client, thread }
    }

    /// A client; as many as there are sessions.
    pub fn client(&self) -> Client {
        self.client.clone()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.client.sender.send(Message::Shutdown);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported to the clients already, as a closed channel.
            let _ = thread.join();
        }
    }
}

/// A session's access to the engine.
#[derive(Clone)]
pub struct Client {
    sender: Sender<Message>,
    next_id: Arc<AtomicU64>,
    stats: Arc<Stats>,
    vocab: usize,
    interrupt: Arc<AtomicBool>,
}

/// A handle to a sequence; dropping it frees its pages.
pub struct Sequence {
    id: SequenceId,
    len: usize,
    client: Client,
}

impl std::fmt::Debug for Sequence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sequence({}, {} tokens)", self.id, self.len)
    }
}

impl Sequence {
    pub(super) fn adopt(client: Client, id: SequenceId, len: usize) -> Self {
        Self { id, len, client }
    }

    /// Length in tokens.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no tokens.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The client of its engine.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A new sequence with the first `len` tokens of this one; shares its pages, costs O(1).
    pub fn fork(&self, len: usize) -> Sequence {
        let (id, len) = (self.client.new_id(), len.min(self.len));
        self.client.tell(Message::Fork { parent: self.id, id, len });
        Sequence { id, len, client: self.client.clone() }
    }

    /// Appends tokens; they are computed when something is asked about what follows.
    pub fn append(&mut self, tokens: &[u32]) -> Result<(), EngineError> {
        self.client.check(tokens)?;
        self.len += tokens.len();
        self.client.tell(Message::Append { id: self.id, tokens: tokens.to_vec() });
        Ok(())
    }
}

impl Drop for Sequence {
    fn drop(&mut self) {
        self.client.tell(Message::Free { id: self.id });
    }
}

impl Client {
    fn new_id(&self) -> SequenceId {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn tell(&self, message: Message) {
        // When the engine is gone, the next request says so.
        let _ = self.sender.send(message);
    }

    fn check(&self, tokens: &[u32]) -> Result<(), EngineError> {
        match tokens.iter().find(|&&t| t as usize >= self.vocab) {
            Some(&token) => Err(EngineError::UnknownToken { token, vocab: self.vocab }),
            None => Ok(()),
        }
    }

    fn wait<T>(&self, reply: &Receiver<Result<T, EngineError>>) -> Result<T, EngineError> {
        reply.recv().unwrap_or_else(|_| {
            let interrupted = self.interrupt.load(Ordering::Relaxed);
            Err(if interrupted {
                EngineError::Interrupted
            } else {
                EngineError::Stopped("its thread ended".into())
            })
        })
    }

    /// What the engine is doing.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Starts a sequence.
    pub fn sequence(&self, tokens: &[u32]) -> Result<Sequence, EngineError> {
        self.check(tokens)?;
        let id = self.new_id();
        self.tell(Message::Create { id, tokens: tokens.to_vec() });
        Ok(Sequence { id, len: tokens.len(), client: self.clone() })
    }

    /// Continues a sequence in `request.n` ways. The sequence itself stays as it is.
    pub fn generate(
        &self,
        trunk: &Sequence,
        request: Generate,
    ) -> Result<(Vec<Generated>, Usage), EngineError> {
        if trunk.is_empty() {
            return Err(EngineError::Empty);
        }
        let (reply, answer) = mpsc::channel();
        self.tell(Message::Generate { trunk: trunk.id, request, client: self.clone(), reply });
        self.wait(&answer)
    }

    /// Continues two sequences by the same tokens, drawn from the mix of what each says. Both grow.
    pub fn guide(
        &self,
        mut plain: Sequence,
        mut conditional: Sequence,
        request: Guide,
    ) -> Result<(Generated, Sequence, Usage), EngineError> {
        if plain.is_empty() || conditional.is_empty() {
            return Err(EngineError::Empty);
        }
        let (reply, answer) = mpsc::channel();
        self.tell(Message::Guide { plain: plain.id, conditional: conditional.id, request, reply });
        let (line, usage) = self.wait(&answer)?;
        plain.len += line.tokens.len();
        conditional.len += line.tokens.len();
        let generated = Generated {
            tokens: line.tokens,
            logprobs: line.logprobs,
            alternatives: line.alternatives,
            finish: line.finish,
            sequence: plain,
        };
        Ok((generated, conditional, usage))
    }

    /// Log-probability of each of `tokens` when they follow `sequence`, without generating anything.
    pub fn score(&self, sequence: &Sequence, tokens: &[u32]) -> Result<Vec<f32>, EngineError> {
        if sequence.is_empty() {
            return Err(EngineError::Empty);
        }
        self.check(tokens)?;
        let (reply, answer) = mpsc::channel();
        self.tell(Message::Score { parent: sequence.id, tokens: tokens.to_vec(), reply });
        self.wait(&answer)
    }
}
