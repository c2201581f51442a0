//! The work of each row, done once: through the engine, as sessions do it.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::BenchError;
use super::case::{Case, PREFIX, Plan, SIGNAL, synthetic};
use super::document::{Parts, StepCounts};
use super::task::task;
use crate::engine::{
    Client, Finish, Generate, Generated, Guidance, Guide, RngKey, Sampler, Sampling, Sequence, StopRule,
};
use crate::model::{ModelConfig, families};
use crate::run::Workbench;
use crate::session::method::{Limits, MethodConfig};
use crate::session::outcome::Seconds;
use crate::session::style::PromptStyle;
use crate::session::{Attempt, Outcome};

/// The source of all prompts.
const TEXT: &str = include_str!("prompt.py");
/// Seed of all draws: a repetition does what the one before did.
const SEED: u64 = 1;
/// Lines at most of the sessions from which the rows `step` are taken.
const STEP_LINES: usize = 10;

/// Continuations have the length that was asked for.
struct Never;

impl StopRule for Never {
    fn check(&self, _generated: &[u32]) -> Option<Finish> {
        None
    }
}

/// One repetition of a row.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// Wall time of what is measured.
    pub seconds: f64,
    /// Units in that time (see [`Case::unit`]).
    pub units: f64,
    /// Tokens in that time, over all sequences.
    pub tokens: usize,
    /// What had to be read and computed, where that can be told.
    pub work: Option<Work>,
    /// Pages in use at the end.
    pub pages: usize,
    /// Of `step` and `session`.
    pub parts: Option<Parts>,
    /// Of `session`.
    pub counts: Option<StepCounts>,
    /// Of `session`.
    pub program: Option<String>,
}

/// The least that a computation must read from memory, and the arithmetic of its model.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Work {
    /// Weights once a step, and each distinct key and value once a step.
    pub bytes: f64,
    /// Products and attention, two operations a multiply-add.
    pub flop: f64,
}

/// What a step of a model costs.
#[derive(Debug, Clone, Copy)]
struct Costs {
    weight_bytes: f64,
    kv_bytes: f64,
    /// Of a row in the blocks, without attention.
    blocks: f64,
    /// Of a row of logits.
    logits: f64,
    /// Of a row's attention to one position.
    position: f64,
}

impl Costs {
    fn new(config: &ModelConfig, weight_bytes: usize, kv_bytes_per_token: usize) -> Self {
        let shape = config.attention.shape;
        let position = config.layers * shape.heads * (shape.head_dim + shape.value_dim);
        Self {
            weight_bytes: weight_bytes as f64,
            kv_bytes: kv_bytes_per_token as f64,
            blocks: 2.0 * families::weights_of_a_row(config) as f64,
            logits: 2.0 * (config.vocab * config.hidden) as f64,
            position: 2.0 * position as f64,
        }
    }

    fn prefill(&self, tokens: usize) -> Work {
        let n = tokens as f64;
        Work {
            bytes: self.weight_bytes + n * self.kv_bytes,
            flop: n * self.blocks + self.logits + self.position * n * (n + 1.0) / 2.0,
        }
    }

    /// `sequences` go `steps` tokens further; before that they have `lengths` tokens together, of which
    /// `distinct` are stored.
    fn decode(&self, steps: usize, sequences: usize, lengths: usize, distinct: usize) -> Work {
        let (n, mut work) = (sequences as f64, Work::default());
        for step in 1..=steps {
            let new = n * step as f64;
            work.bytes += self.weight_bytes + self.kv_bytes * (distinct as f64 + new);
            work.flop += n * (self.blocks + self.logits) + self.position * (lengths as f64 + new);
        }
        work
    }
}

/// Everything that the rows need, made before the first is measured.
pub(super) struct Lab<'a> {
    bench: &'a Workbench,
    client: Client,
    costs: Costs,
    /// The text's tokens; a prompt is a piece of them, from the beginning again when they end.
    text: Vec<u32>,
    /// A sequence that is long enough for every prefix, computed once.
    trunk: Sequence,
    /// The unrelated sequences of `sessions`, computed once.
    sessions: Vec<Sequence>,
    /// The two streams of `guided`, computed once.
    streams: Option<[Sequence; 2]>,
    steps: usize,
    lines: usize,
    /// Prompts that were read, so that each of `prefill` is another.
    prompts: usize,
}

fn one_way(n: usize, sampling: Sampling, max_tokens: usize) -> Generate {
    Generate {
        n,
        sampler: Sampler::Temperature,
        sampling,
        key: RngKey::new(SEED),
        stop: Box::new(Never),
        max_tokens,
        alternatives: 0,
    }
}

/// The most probable tokens under guidance, without a guess: what guesses save depends on the task, and the rows `step` and
/// `session` show it.
fn guided(gamma: f32, max_tokens: usize) -> Guide {
    Guide {
        guidance: Guidance { gamma, epsilon: 1e-8 },
        sampling: Sampling::GREEDY,
        key: RngKey::new(SEED),
        stop: Box::new(Never),
        max_tokens,
        alternatives: 0,
        drafts: Vec::new(),
    }
}

/// As the methods sample candidates.
const CANDIDATES: Sampling = Sampling { temperature: 0.8, top_p: 0.95, top_k: 0 };

/// Tokens that took a forward pass: the first of each continuation was known before.
fn computed(generated: &[Generated]) -> usize {
    generated.iter().map(|g| g.tokens.len().saturating_sub(1)).sum()
}

impl<'a> Lab<'a> {
    pub(super) fn new(bench: &'a Workbench, plan: &Plan, cases: &[Case]) -> Result<Self, BenchError> {
        let context = bench.config.context;
        for case in cases {
            let tokens = case.prefix() + plan.steps + 1;
            if case.prefix() > 0 && tokens > context {
                return Err(BenchError::TooLong { row: case.to_string(), tokens, context });
            }
        }
        // Copies of the model on other GPUs would be as fast.
        let client = bench.clients().remove(0);
        let text = bench.supervisor.tokenizer.encode(TEXT, false)?;
        let longest = cases.iter().map(|case| match case {
            Case::Decode | Case::Shared { .. } => case.prefix(),
            _ => 1,
        });
        let trunk = client.sequence(&piece(&text, 0, longest.max().unwrap_or(1)))?;
        let lab = Self {
            bench,
            costs: Costs::new(&bench.config, bench.weight_bytes, bench.kv_bytes_per_token),
            text,
            trunk,
            sessions: Vec::new(),
            streams: None,
            steps: plan.steps,
            lines: plan.lines,
            prompts: 0,
            client,
        };
        lab.read(&lab.trunk)?;
        Ok(lab)
    }

    /// Has a sequence computed up to what follows it.
    fn read(&self, sequence: &Sequence) -> Result<(), BenchError> {
        self.client.generate(sequence, one_way(1, Sampling::GREEDY, 1))?;
        Ok(())
    }

    /// A sequence of its own with the text from some place on, computed.
    fn begin(&self, offset: usize, len: usize) -> Result<Sequence, BenchError> {
        let sequence = self.client.sequence(&piece(&self.text, offset, len))?;
        self.read(&sequence)?;
        Ok(sequence)
    }

    /// Pages in use. The engine counts them at the end of a turn, a moment after it answered.
    fn pages(&self) -> usize {
        std::thread::sleep(std::time::Duration::from_millis(2));
        self.client.stats().pages_in_use.load(Ordering::Relaxed)
    }

    /// Does the work of a row once.
    pub(super) fn measure(&mut self, case: Case, stop: &AtomicBool) -> Result<Sample, BenchError> {
        match case {
            Case::Prefill { tokens } => self.prefill(tokens),
            Case::Decode => self.branches(1, PREFIX, Sampling::GREEDY),
            Case::Shared { branches, prefix } => self.branches(branches, prefix, CANDIDATES),
            Case::Sessions { sequences } => {
                for index in self.sessions.len()..sequences {
                    self.sessions.push(self.begin(97 * (index + 1), PREFIX)?);
                }
                let work = self.costs.decode(self.steps, sequences, sequences * PREFIX, sequences * PREFIX);
                self.together(&self.sessions[..sequences], work)
            }
            Case::Pair => {
                let streams = self.streams()?;
                let lengths = 2 * PREFIX + SIGNAL;
                let work = self.costs.decode(self.steps, 2, lengths, lengths);
                self.together(&streams, work)
            }
            Case::Guided { gamma } => self.guided(gamma),
            Case::Step { method } => self.step(method, stop),
            Case::Session => self.session(stop),
            Case::SyntheticSession => self.synthetic_session(),
        }
    }

    /// Reads a prompt that nobody has read, and draws the token after it.
    fn prefill(&mut self, tokens: usize) -> Result<Sample, BenchError> {
        self.prompts += 1;
        let prompt = piece(&self.text, 131 * self.prompts, tokens);
        let started = Instant::now();
        let sequence = self.client.sequence(&prompt)?;
        self.read(&sequence)?;
        let seconds = started.elapsed().as_secs_f64();
        let work = Some(self.costs.prefill(tokens));
        Ok(Sample { seconds, units: 1.0, tokens, work, pages: self.pages(), ..Sample::default() })
    }

    /// Continues one prefix in several ways.
    fn branches(&self, n: usize, prefix: usize, sampling: Sampling) -> Result<Sample, BenchError> {
        let trunk = self.trunk.fork(prefix);
        self.read(&trunk)?;
        let started = Instant::now();
        let (generated, _) = self.client.generate(&trunk, one_way(n, sampling, self.steps + 1))?;
        let seconds = started.elapsed().as_secs_f64();
        Ok(Sample {
            seconds,
            units: self.steps as f64,
            tokens: computed(&generated),
            work: Some(self.costs.decode(self.steps, n, n * prefix, prefix)),
            pages: self.pages(),
            ..Sample::default()
        })
    }

    /// Continues sequences at the same time, each asked for by a thread of its own, as sessions do.
    fn together(&self, sequences: &[Sequence], work: Work) -> Result<Sample, BenchError> {
        let barrier = Barrier::new(sequences.len() + 1);
        let (seconds, answers) = std::thread::scope(|scope| {
            let asking: Vec<_> = sequences
                .iter()
                .map(|sequence| {
                    let (client, barrier, tokens) = (self.client.clone(), &barrier, self.steps + 1);
                    scope.spawn(move || {
                        barrier.wait();
                        client.generate(sequence, one_way(1, Sampling::GREEDY, tokens))
                    })
                })
                .collect();
            barrier.wait();
            let started = Instant::now();
            let answers: Vec<_> =
                asking.into_iter().map(|thread| thread.join().expect("asking does not panic")).collect();
            (started.elapsed().as_secs_f64(), answers)
        });
        let mut generated = Vec::new();
        for answer in answers {
            generated.extend(answer?.0);
        }
        Ok(Sample {
            seconds,
            units: self.steps as f64,
            tokens: computed(&generated),
            work: Some(work),
            pages: self.pages(),
            ..Sample::default()
        })
    }

    /// Forks of a plain stream and of a longer conditional one.
    fn streams(&mut self) -> Result<[Sequence; 2], BenchError> {
        if self.streams.is_none() {
            self.streams = Some([self.begin(0, PREFIX)?, self.begin(211, PREFIX + SIGNAL)?]);
        }
        let streams = self.streams.as_ref().expect("made above");
        Ok(streams.each_ref().map(|stream| stream.fork(stream.len())))
    }

    /// Continues the two streams by the same tokens.
    fn guided(&mut self, gamma: f32) -> Result<Sample, BenchError> {
        let [plain, conditional] = self.streams()?;
        let started = Instant::now();
        let request = guided(gamma, self.steps + 1);
        let (generated, _conditional, _) = self.client.guide(plain, conditional, request)?;
        let seconds = started.elapsed().as_secs_f64();
        let lengths = 2 * PREFIX + SIGNAL;
        Ok(Sample {
            seconds,
            units: self.steps as f64,
            tokens: computed(std::slice::from_ref(&generated)),
            work: Some(self.costs.decode(self.steps, 2, lengths, lengths)),
            pages: self.pages(),
            ..Sample::default()
        })
    }

    /// For each line: candidates from the plain prompt, a conditional prompt with a new signal, and a line under the
    /// guidance of both.
    fn synthetic_session(&mut self) -> Result<Sample, BenchError> {
        self.prompts += 1;
        let prompt = piece(&self.text, 131 * self.prompts, synthetic::PROMPT);
        let (head, tail) = prompt.split_at(synthetic::PROMPT - synthetic::TAIL);
        let sampling = Sampling { temperature: synthetic::TEMPERATURE, top_p: synthetic::TOP_P, top_k: 0 };
        let started = Instant::now();
        let mut trunk = self.client.sequence(&prompt)?;
        let mut committed = Vec::new();
        for line in 0..synthetic::LINES {
            let tokens = synthetic::HORIZON * synthetic::LINE;
            let key = RngKey::new(SEED).with(line as u64);
            let request = Generate { key, ..one_way(synthetic::CANDIDATES, sampling, tokens) };
            self.client.generate(&trunk, request)?;
            let signal = piece(&self.text, 17 * (self.prompts * synthetic::LINES + line), synthetic::SIGNAL);
            let mut conditional = trunk.fork(head.len());
            conditional.append(&[&signal, tail, &committed].concat())?;
            let request = guided(synthetic::GAMMA, synthetic::LINE);
            let (generated, _, _) = self.client.guide(trunk, conditional, request)?;
            committed.extend_from_slice(&generated.tokens);
            trunk = generated.sequence;
        }
        Ok(Sample {
            seconds: started.elapsed().as_secs_f64(),
            units: 1.0,
            tokens: committed.len(),
            pages: self.pages(),
            ..Sample::default()
        })
    }

    fn attempt(
        &self,
        method: &MethodConfig,
        lines: usize,
        stop: &AtomicBool,
        watch: &mut dyn FnMut(crate::session::StepReport<'_>),
    ) -> Result<Outcome, BenchError> {
        let task = task();
        let limits = Limits { max_lines: lines, ..Limits::default() };
        let prompt = PromptStyle::Default;
        let attempt = Attempt { task: &task, cell: "bench", method, prompt, seed: SEED, limits, stop };
        Ok(self.bench.supervisor.solve(&attempt, watch)?)
    }

    /// The mean step of a session's beginning, of those that sampled and ran candidates. The first step is left
    /// out, as it reads the prompt.
    fn step(&self, method: &str, stop: &AtomicBool) -> Result<Sample, BenchError> {
        let config = MethodConfig::of_name(method).expect("the rows name methods that there are");
        let (mut seconds, mut parts, mut tokens, mut steps) = (0.0, Seconds::default(), 0, 0);
        let (mut since, mut before, mut before_tokens) = (Instant::now(), Seconds::default(), 0);
        self.attempt(&config, self.lines.min(STEP_LINES), stop, &mut |report| {
            let now = Instant::now();
            if report.step.step > 0 && !report.step.candidates.is_empty() {
                seconds += now.duration_since(since).as_secs_f64();
                parts.propose += report.seconds.propose - before.propose;
                parts.gate += report.seconds.gate - before.gate;
                parts.execute += report.seconds.execute - before.execute;
                parts.guide += report.seconds.guide - before.guide;
                parts.commit += report.seconds.commit - before.commit;
                tokens += report.generated_tokens - before_tokens;
                steps += 1;
            }
            (since, before, before_tokens) = (now, report.seconds, report.generated_tokens);
        })?;
        if steps == 0 {
            return Err(BenchError::NoSteps { method: method.to_owned() });
        }
        Ok(Sample {
            seconds,
            units: f64::from(steps),
            tokens,
            pages: self.pages(),
            parts: Some(Parts::new(&parts, seconds, steps as usize)),
            ..Sample::default()
        })
    }

    /// A whole session of `eg-cfg` with its default parameters.
    fn session(&self, stop: &AtomicBool) -> Result<Sample, BenchError> {
        let outcome = self.attempt(&session_method(), self.lines, stop, &mut |_| {})?;
        let counts = outcome.counts;
        Ok(Sample {
            seconds: outcome.seconds.total,
            units: 1.0,
            tokens: counts.engine.generated_tokens,
            work: None,
            pages: self.pages(),
            parts: Some(Parts::new(&outcome.seconds, outcome.seconds.total, counts.steps)),
            counts: Some(StepCounts {
                steps: counts.steps,
                committed_tokens: counts.committed_tokens,
                generated_tokens: counts.engine.generated_tokens,
                prefill_tokens: counts.engine.prefill_tokens,
                forward_passes: counts.engine.forward_passes,
                executions: counts.executions,
            }),
            program: Some(outcome.program),
        })
    }
}

/// The method of `session`.
pub(super) fn session_method() -> MethodConfig {
    MethodConfig::of_name("eg-cfg").expect("there is this method")
}

/// `len` tokens of the text from `offset` on, from the beginning again where it ends.
fn piece(text: &[u32], offset: usize, len: usize) -> Vec<u32> {
    text.iter().copied().cycle().skip(offset % text.len().max(1)).take(len).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_counted_as_by_hand() {
        let costs = Costs { weight_bytes: 100.0, kv_bytes: 2.0, blocks: 10.0, logits: 5.0, position: 1.0 };
        // Two branches of 8 shared tokens: at the first step each looks at 9 positions, and 10 are stored.
        assert_eq!(costs.decode(1, 2, 16, 8), Work { bytes: 120.0, flop: 48.0 });
        assert_eq!(costs.decode(2, 2, 16, 8), Work { bytes: 244.0, flop: 98.0 });
        assert_eq!(costs.prefill(3), Work { bytes: 106.0, flop: 41.0 });
    }

    #[test]
    fn pieces_go_round() {
        assert_eq!(piece(&[1, 2, 3], 2, 4), [3, 1, 2, 3]);
    }
}
