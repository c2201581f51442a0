//! The supervisor: runs the loop of a session, one commit a step.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::SessionError;
use super::coder::{Ask, Coder, Proposal};
use super::commit;
use super::evaluator::{Evaluation, Evaluator};
use super::language::Language;
use super::lines::text_of;
use super::method::{EgCfgConfig, MethodConfig, SampleConfig, VigorConfig};
use super::outcome::{Attempt, Counts, Outcome, Seconds, StepReport};
use super::policy::{self, Budget};
use super::prompts::{Prompt, Prompts};
use super::reviewer::{Reviewed, Reviewer};
use super::tester::Tester;
use super::trace::{
    Alternative, Candidate, Decision, DecodedToken, End, EndReason, Event, LineClass, SCHEMA_VERSION,
    SessionKey, Signal, Source, Start, Step,
};
use crate::engine::{Finish, RngKey, Sampler, Sampling, Sequence, Usage};
use crate::feedback::{SignalCaps, SignalEntry, signal_text};
use crate::model::tokenizer::Tokenizer;
use crate::sandbox::TraceCaps;
use crate::task::Test;

/// Leading alternatives recorded for each token that is decoded directly.
const ALTERNATIVES: usize = 4;

/// The roles, ready to solve tasks. Shared by all sessions.
pub struct Supervisor {
    /// Proposes.
    pub coder: Box<dyn Coder>,
    /// Classifies and completes.
    pub language: Box<dyn Language>,
    /// Gates.
    pub reviewer: Box<dyn Reviewer>,
    /// Runs candidates.
    pub evaluator: Box<dyn Evaluator>,
    /// Judges programs.
    pub tester: Box<dyn Tester>,
    /// Makes prompts.
    pub prompts: Prompts,
    /// Reads tokens.
    pub tokenizer: Arc<Tokenizer>,
}

impl Supervisor {
    /// Runs one session to its end; `watch` sees every step.
    ///
    /// # Errors
    /// The engine, the sandbox or a template fails, or the session is told to stop. Whatever the model writes
    /// is an outcome.
    pub fn solve(
        &self,
        attempt: &Attempt<'_>,
        watch: &mut dyn FnMut(StepReport<'_>),
    ) -> Result<Outcome, SessionError> {
        let started = Instant::now();
        let prompt = self.prompts.plain(attempt.task, attempt.prompt)?;
        let mut session = Session {
            roles: self,
            attempt,
            trunk: self.coder.begin(&prompt.tokens)?,
            program: prompt.program.clone(),
            committed: Vec::new(),
            conditional: None,
            reviewed: Reviewed::default(),
            kept: None,
            budget: Budget::new(attempt.limits),
            counts: Counts::default(),
            seconds: Seconds::default(),
            prompt,
        };
        let mut events = vec![Event::Start(session.start())];
        let end = loop {
            if attempt.stop.load(Ordering::Relaxed) {
                return Err(SessionError::Stopped);
            }
            if let Some(reason) = session.budget.exhausted() {
                break reason;
            }
            let step = session.step()?;
            watch(StepReport {
                step: &step,
                program: &session.program,
                generated_tokens: session.counts.engine.generated_tokens,
                seconds: session.seconds,
            });
            let end = step.decision.end;
            events.push(Event::Step(step));
            if let Some(reason) = end {
                break reason;
            }
        };
        let program = std::mem::take(&mut session.program);
        events.push(Event::End(End { reason: end, program: program.clone() }));
        let score = timed(&mut session.seconds.score, || self.tester.score(attempt.task, &program))?;
        let mut seconds = session.seconds;
        seconds.total = started.elapsed().as_secs_f64();
        Ok(Outcome {
            key: SessionKey {
                task_id: attempt.task.id.clone(),
                cell: attempt.cell.to_owned(),
                method: attempt.method.name().to_owned(),
                gamma: attempt.method.gamma(),
                seed: attempt.seed,
            },
            events,
            program,
            score,
            guided: session.has_tests(),
            end,
            counts: session.counts,
            seconds,
        })
    }
}

/// Runs something and adds its wall time to a sum.
fn timed<T>(sum: &mut f64, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = work();
    *sum += Duration::as_secs_f64(&started.elapsed());
    result
}

/// The candidates of a step, by sample index.
struct Proposed {
    proposals: Vec<Proposal>,
    candidates: Vec<Candidate>,
    /// What happened when each ran, where it did.
    evaluations: Vec<Option<Evaluation>>,
}

/// A session on its way.
struct Session<'a> {
    roles: &'a Supervisor,
    attempt: &'a Attempt<'a>,
    prompt: Prompt,
    /// The prompt and the committed lines.
    trunk: Sequence,
    /// The text of the committed lines. Only ever appended to.
    program: String,
    /// Their tokens.
    committed: Vec<u32>,
    /// The last conditional sequence and its tokens, whose cache the next one reuses.
    conditional: Option<(Sequence, Vec<u32>)>,
    /// What the reviewer knows of the program.
    reviewed: Reviewed,
    /// The last signal and the step that it was made in, where more lines than one are guided by one.
    kept: Option<(usize, Signal)>,
    budget: Budget,
    counts: Counts,
    seconds: Seconds,
}

impl Session<'_> {
    fn has_tests(&self) -> bool {
        !self.attempt.task.guiding_tests.is_empty()
    }

    fn start(&self) -> Start {
        let Attempt { method, limits, prompt, .. } = self.attempt;
        let mut policy = serde_json::json!({ "method": method, "limits": limits });
        if !prompt.is_default() {
            policy["prompt"] = prompt.name().into();
        }
        Start {
            schema: SCHEMA_VERSION,
            prompt: self.prompt.text.clone(),
            prompt_tokens: self.prompt.tokens.len(),
            guiding_tests: self.attempt.task.guiding_tests.iter().map(|t| t.source.clone()).collect(),
            guided: self.has_tests(),
            policy,
        }
    }

    fn step(&mut self) -> Result<Step, SessionError> {
        let inside_string = self.roles.language.in_string(&self.program);
        let mut step = match self.attempt.method {
            MethodConfig::Greedy => self.greedy_step()?,
            MethodConfig::Sample(config) => self.sample_step(config)?,
            // The inside of a docstring is no choice worth several candidates: nothing of it can run.
            MethodConfig::Vigor(_) if inside_string => self.greedy_step()?,
            MethodConfig::Vigor(config) => self.vigor_step(config)?,
            MethodConfig::EgCfg(_) if inside_string || !self.guidance_is_on() => self.greedy_step()?,
            MethodConfig::EgCfg(config) => self.guided_step(config)?,
        };
        if step.decision.end.is_none()
            && policy::ends_when_tests_pass(self.attempt.method)
            && self.passes_now()?
        {
            step.decision.end = Some(EndReason::TestsPassed);
        }
        if step.decision.end.is_none() && step.decision.tokens.is_empty() {
            // Nothing was committed and nothing ended: no further step would do better.
            step.decision.end = Some(EndReason::TokenBudget);
        }
        self.counts.steps += 1;
        Ok(step)
    }

    fn guidance_is_on(&self) -> bool {
        policy::can_guide(self.attempt.task, |name| self.roles.language.defines(&self.program, name))
    }

    fn key(&self) -> RngKey {
        RngKey::new(self.attempt.seed).with_name(&self.attempt.task.id).with(self.counts.steps as u64)
    }

    fn ask(&self, lines: Option<usize>) -> Ask<'_> {
        Ask {
            prefix: &self.program,
            n: 1,
            sampler: Sampler::Temperature,
            sampling: Sampling::GREEDY,
            key: self.key(),
            lines,
            logical: false,
            fenced: self.roles.prompts.is_fenced(self.attempt.prompt),
            max_tokens: self.budget.tokens_left(),
            alternatives: 0,
        }
    }

    fn add(&mut self, usage: Usage) {
        self.counts.engine += usage;
    }

    /// Appends tokens of a continuation of the trunk to the program.
    fn append(&mut self, tokens: &[u32], sequence: &Sequence) {
        let text = text_of(&self.roles.tokenizer, tokens);
        self.trunk = sequence.fork(self.trunk.len() + tokens.len());
        self.budget.spend(text.lines().filter(|l| !l.trim().is_empty()).count(), tokens.len());
        self.program.push_str(&text);
        self.committed.extend_from_slice(tokens);
        self.counts.committed_tokens += tokens.len();
    }

    /// Commits the line of a proposal that was decoded directly.
    fn commit_decoded(&mut self, proposal: &Proposal, source: Source, reason: &str) -> Decision {
        let tokens = proposal.tokens[..proposal.line.tokens].to_vec();
        let end = proposal.line.end.and_then(policy::end_of);
        if end.is_some() {
            return Decision {
                source: Source::Nothing,
                text: String::new(),
                tokens: Vec::new(),
                reason: "the model ended the program".into(),
                end,
            };
        }
        self.append(&tokens, &proposal.sequence);
        Decision { source, text: proposal.line.text.clone(), tokens, reason: reason.into(), end: None }
    }

    /// The tokens of a directly decoded line, for the trace; of an end, the token that ended it.
    fn decoded_tokens(&self, proposal: &Proposal, tokens: usize) -> Vec<DecodedToken> {
        proposal.alternatives[..tokens.min(proposal.alternatives.len())]
            .iter()
            .zip(&proposal.tokens)
            .map(|(top, &id)| DecodedToken {
                id,
                text: text_of(&self.roles.tokenizer, &[id]),
                top: top.iter().map(|&(id, p, q)| Alternative { id, p, q }).collect(),
            })
            .collect()
    }

    /// Decodes one line greedily from the plain stream.
    fn greedy_step(&mut self) -> Result<Step, SessionError> {
        let ask = Ask { alternatives: ALTERNATIVES, ..self.ask(Some(1)) };
        let started = Instant::now();
        let (mut proposals, usage) = self.roles.coder.propose(&self.trunk, &ask)?;
        self.seconds.propose += started.elapsed().as_secs_f64();
        self.add(usage);
        let proposal = proposals.remove(0);
        let tokens = self.decoded_tokens(&proposal, proposal.line.tokens);
        let decision = self.commit_decoded(&proposal, Source::Greedy, "most probable tokens");
        Ok(Step { step: self.counts.steps, candidates: Vec::new(), signal: None, tokens, decision })
    }

    /// Samples candidates and gathers the evidence about them.
    fn candidates(
        &mut self,
        ask_for: &super::method::Sampling,
        lines: Option<usize>,
        trace: Option<TraceCaps>,
    ) -> Result<Proposed, SessionError> {
        let left = self.budget.tokens_left();
        let ask = Ask {
            n: ask_for.n,
            sampler: ask_for.sampler,
            sampling: Sampling {
                temperature: ask_for.temperature as f32,
                top_p: ask_for.top_p as f32,
                top_k: ask_for.top_k,
            },
            logical: true,
            // Far more than lines of code have; a bound against a line that does not end.
            max_tokens: lines.map_or(left, |lines| left.min(64 * lines + 64)),
            ..self.ask(lines)
        };
        let started = Instant::now();
        let (proposals, usage) = self.roles.coder.propose(&self.trunk, &ask)?;
        self.seconds.propose += started.elapsed().as_secs_f64();
        self.add(usage);

        let started = Instant::now();
        let texts: Vec<String> = proposals.iter().map(|p| p.text.clone()).collect();
        let gates = self.roles.reviewer.review(&mut self.reviewed, &self.program, &texts)?;
        let prefixes: Vec<String> = texts.iter().map(|text| format!("{}{text}", self.program)).collect();
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let mut candidates: Vec<Candidate> = Vec::with_capacity(proposals.len());
        for (index, (proposal, gate)) in proposals.iter().zip(gates).enumerate() {
            let line = &proposal.line;
            let first = *seen.entry(proposal.text.as_str()).or_insert(index);
            let with_line = format!("{}{}", self.program, line.text);
            let sum = |logprobs: &[f32]| logprobs.iter().map(|&l| f64::from(l)).sum();
            candidates.push(Candidate {
                index,
                text: proposal.text.clone(),
                line: line.text.clone(),
                line_tokens: proposal.tokens[..line.tokens].to_vec(),
                tokens: proposal.logprobs.len(),
                logprob: sum(&proposal.logprobs),
                line_logprob: sum(&proposal.logprobs[..line.tokens]),
                ended: match proposal.finish {
                    Finish::EndOfText | Finish::Fence => "end",
                    Finish::Lines => "horizon",
                    Finish::Length => "length",
                }
                .into(),
                class: if line.text.trim().is_empty() {
                    LineClass::Executable
                } else {
                    self.roles.language.line_class(&with_line)
                },
                gate,
                duplicate_of: (first < index).then_some(first),
                execution: None,
            });
        }
        self.seconds.gate += started.elapsed().as_secs_f64();

        let evaluations = self.run_candidates(&prefixes, &mut candidates, trace)?;
        Ok(Proposed { proposals, candidates, evaluations })
    }

    /// Runs every viable candidate, equal programs once.
    fn run_candidates(
        &mut self,
        prefixes: &[String],
        candidates: &mut [Candidate],
        trace: Option<TraceCaps>,
    ) -> Result<Vec<Option<Evaluation>>, SessionError> {
        if !self.has_tests() {
            return Ok(vec![None; candidates.len()]);
        }
        let started = Instant::now();
        let mut programs: Vec<String> = Vec::new();
        let mut program_of: Vec<Option<usize>> = Vec::new();
        for (candidate, prefix) in candidates.iter().zip(prefixes) {
            let language = &self.roles.language;
            let program = match self.attempt.method {
                _ if !commit::is_viable(candidate) => None,
                // A whole program, which is run as it would be scored: one that was cut off is not repaired.
                MethodConfig::Sample(_) => Some(prefix.clone()),
                _ => language.complete(prefix),
            };
            // What is traced is shown to the model: spare it the comments and docstrings.
            let program = if trace.is_some() { program.map(|p| language.strip(&p)) } else { program };
            program_of.push(program.map(|program| match programs.iter().position(|p| *p == program) {
                Some(at) => at,
                None => {
                    programs.push(program);
                    programs.len() - 1
                }
            }));
        }
        let evaluations = self.roles.evaluator.evaluate(self.attempt.task, &programs, trace)?;
        self.counts.executions += programs.len();
        self.seconds.execute += started.elapsed().as_secs_f64();
        Ok(candidates
            .iter_mut()
            .zip(program_of)
            .map(|(candidate, program)| {
                let evaluation = program.map(|p| evaluations[p].clone());
                candidate.execution = evaluation.as_ref().map(|e| e.execution.clone());
                evaluation
            })
            .collect())
    }

    /// Commits the line of the chosen candidate.
    fn commit_candidate(&mut self, proposals: &[Proposal], candidates: &[Candidate]) -> Decision {
        let started = Instant::now();
        let choice = commit::choose(self.attempt.method, candidates);
        self.seconds.commit += started.elapsed().as_secs_f64();
        let Some(choice) = choice else {
            return Decision {
                source: Source::Nothing,
                text: String::new(),
                tokens: Vec::new(),
                reason: "no candidate can become valid Python".into(),
                end: Some(EndReason::NoViableCandidate),
            };
        };
        let proposal = &proposals[choice.index];
        let source = Source::Candidate { index: choice.index };
        let end = proposal.line.end.and_then(policy::end_of);
        if end.is_some() {
            return Decision { source, text: String::new(), tokens: Vec::new(), reason: choice.reason, end };
        }
        let tokens = candidates[choice.index].line_tokens.clone();
        self.append(&tokens, &proposal.sequence);
        Decision { source, text: proposal.line.text.clone(), tokens, reason: choice.reason, end: None }
    }

    /// Best of n: whole programs, one of which is committed as a whole.
    fn sample_step(&mut self, config: &SampleConfig) -> Result<Step, SessionError> {
        let Proposed { mut proposals, mut candidates, .. } = self.candidates(&config.sampling, None, None)?;
        for (proposal, candidate) in proposals.iter_mut().zip(&mut candidates) {
            // Here the "line" is the whole program.
            proposal.line.tokens = proposal.tokens.len();
            proposal.line.text = proposal.text.clone();
            candidate.line = proposal.text.clone();
            candidate.line_tokens = proposal.tokens.clone();
            candidate.line_logprob =
                proposal.logprobs[..proposal.tokens.len()].iter().map(|&l| f64::from(l)).sum();
        }
        let mut decision = self.commit_candidate(&proposals, &candidates);
        if let Source::Candidate { index } = decision.source {
            decision.end =
                decision.end.or(policy::end_of(proposals[index].finish)).or(Some(EndReason::TokenBudget));
        }
        Ok(Step { step: self.counts.steps, candidates, signal: None, tokens: Vec::new(), decision })
    }

    /// Select: candidates, gates, execution, one line.
    fn vigor_step(&mut self, config: &VigorConfig) -> Result<Step, SessionError> {
        let Proposed { proposals, candidates, .. } =
            self.candidates(&config.sampling, Some(config.horizon), None)?;
        let decision = self.commit_candidate(&proposals, &candidates);
        Ok(Step { step: self.counts.steps, candidates, signal: None, tokens: Vec::new(), decision })
    }

    /// Guide: candidates → traces → signal → a line decoded under guidance. While a signal is to last, the next lines
    /// go without candidates.
    fn guided_step(&mut self, config: &EgCfgConfig) -> Result<Step, SessionError> {
        let caps = TraceCaps {
            max_events: config.signal.max_events,
            max_value_bytes: config.signal.max_value,
            max_total_bytes: TraceCaps::default().max_total_bytes.max(config.signal.max_chars),
            ..TraceCaps::default()
        };
        let step = self.counts.steps;
        let kept = self.kept.take().filter(|(made, _)| step - made < config.refresh_lines);
        let (made, text, capped, candidates, drafts) = match kept {
            Some((made, signal)) => (made, signal.text, signal.capped, Vec::new(), Vec::new()),
            None => {
                let Proposed { proposals, candidates, evaluations } =
                    self.candidates(&config.sampling, Some(config.horizon), Some(caps))?;
                let started = Instant::now();
                let signal = self.signal(config, &candidates, &evaluations);
                self.seconds.guide += started.elapsed().as_secs_f64();
                let Some((text, capped)) = signal else {
                    let step = self.greedy_step()?;
                    return Ok(Step { candidates, ..step });
                };
                // The line is often that of a candidate, or begins so.
                let drafts = proposals.into_iter().map(|p| p.tokens).collect();
                (step, text, capped, candidates, drafts)
            }
        };
        let started = Instant::now();
        let conditional = self.roles.prompts.conditional(self.attempt.task, self.attempt.prompt, &text)?;
        let mut tokens = conditional.tokens;
        tokens.extend_from_slice(&self.committed);
        let sequence = self.conditional_sequence(&tokens)?;

        let sampling = if config.sample_line {
            Sampling { temperature: config.line_temperature as f32, top_p: 1.0, top_k: 0 }
        } else {
            Sampling::GREEDY
        };
        // The candidates drew from the parts 0, 1 … of the step's key; the line draws from its own.
        let key = self.key().with(u64::MAX);
        let ask = Ask { alternatives: ALTERNATIVES, sampling, key, ..self.ask(Some(1)) };
        let plain = self.trunk.fork(self.trunk.len());
        let drafts = if config.speculate { drafts } else { Vec::new() };
        let (proposal, sequence, usage) =
            self.roles.coder.guide(plain, sequence, config.guidance(), drafts, &ask)?;
        self.add(usage);
        let prompt_tokens = tokens.len();
        tokens.extend_from_slice(&proposal.tokens);
        self.conditional = Some((sequence, tokens));
        let decoded = self.decoded_tokens(&proposal, proposal.line.tokens);
        let decision = self.commit_decoded(&proposal, Source::Guided, "most probable tokens under guidance");
        let signal = Signal { text, prompt_tokens, capped };
        if config.refresh_lines > 1 {
            self.kept = Some((made, signal.clone()));
        }
        self.seconds.guide += started.elapsed().as_secs_f64();
        Ok(Step { step, candidates, signal: Some(signal), tokens: decoded, decision })
    }

    /// The signal from what the candidates did, equal programs once; `None` when nothing was traced.
    fn signal(
        &self,
        config: &EgCfgConfig,
        candidates: &[Candidate],
        evaluations: &[Option<Evaluation>],
    ) -> Option<(String, bool)> {
        let invocations: Vec<_> = self.attempt.task.guiding_tests.iter().map(Test::invocation).collect();
        let mut seen: Vec<&str> = Vec::new();
        let mut entries = Vec::new();
        for (candidate, evaluation) in candidates.iter().zip(evaluations) {
            let (Some(execution), Some(evaluation)) = (&candidate.execution, evaluation) else { continue };
            if seen.contains(&execution.program.as_str()) {
                continue;
            }
            seen.push(&execution.program);
            for (test, run) in invocations.iter().zip(&evaluation.runs) {
                let Some(trace) = &run.trace else { continue };
                let printed = run.printed.as_deref();
                entries.push(SignalEntry { program: &execution.program, invocation: test, printed, trace });
            }
        }
        // Room for at least three entries, so that one long trace does not hide the other candidates.
        let max_total_chars = config.signal.max_chars;
        let caps =
            SignalCaps { max_total_chars, max_entry_chars: max_total_chars / 3, ..SignalCaps::default() };
        let signal = signal_text(&entries, &caps);
        (!signal.text.is_empty()).then_some((signal.text, signal.capped))
    }

    /// A sequence with these tokens that shares as much of the cache as it can with the trunk or with the last
    /// conditional sequence.
    fn conditional_sequence(&mut self, tokens: &[u32]) -> Result<Sequence, SessionError> {
        let common = |other: &[u32]| other.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        let with_trunk = common(&self.prompt.tokens);
        let last = self.conditional.take();
        let with_last = last.as_ref().map_or(0, |(_, tokens)| common(tokens));
        let (parent, shared) = match &last {
            Some((sequence, _)) if with_last >= with_trunk => (sequence, with_last),
            _ => (&self.trunk, with_trunk),
        };
        let mut sequence = parent.fork(shared);
        sequence.append(&tokens[shared..])?;
        Ok(sequence)
    }

    /// Whether the committed program, as it stands, passes all guiding tests.
    fn passes_now(&mut self) -> Result<bool, SessionError> {
        if !self.guidance_is_on() || self.roles.language.line_class(&self.program) != LineClass::Executable {
            return Ok(false);
        }
        let started = Instant::now();
        let evaluations =
            self.roles.evaluator.evaluate(self.attempt.task, std::slice::from_ref(&self.program), None)?;
        self.counts.executions += 1;
        self.seconds.execute += started.elapsed().as_secs_f64();
        Ok(evaluations.first().is_some_and(|e| e.execution.passed == e.execution.tests.len()))
    }
}
