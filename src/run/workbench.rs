//! The workbench: everything that solving needs, made ready once and shared by all sessions.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use thiserror::Error;

use super::execute::{Progress, SessionJob, SessionOutcome, SolveError, Solver, StepProgress};
use super::files::{ResultRow, TimingRow};
use super::manifest::{ModelInfo, Part, arithmetic_of_cpu};
use crate::engine::{Client, Engine, EngineOptions};
use crate::model::cpu::Isa;
use crate::model::device::{GpuInfo, Placement};
use crate::model::template::ChatTemplate;
use crate::model::tokenizer::TokenizerError;
use crate::model::{ModelConfig, ModelError, ModelFiles};
use crate::sandbox::{Limits, Pool, PoolConfig, SandboxError};
use crate::session::coder::EngineCoder;
use crate::session::language::Python;
use crate::session::method::PromptTemplates;
use crate::session::prompts::Prompts;
use crate::session::reviewer::CPython;
use crate::session::tester::Score;
use crate::session::trace::TraceLine;
use crate::session::{Attempt, Outcome, SessionError, Supervisor, evaluator, tester};
use crate::source::Resolved;

/// What a workbench is made of.
pub struct WorkbenchOptions<'a> {
    /// The model, found and verified.
    pub model: &'a Resolved,
    /// Threads for the model.
    pub threads: usize,
    /// Where the model runs, and with how much memory.
    pub placement: &'a Placement,
    /// Templates that replace our own.
    pub prompts: &'a PromptTemplates,
    /// Limits of every execution.
    pub limits: Limits,
    /// The sandbox that runs the programs.
    pub sandbox: PoolConfig,
    /// Set to end everything.
    pub interrupt: Arc<AtomicBool>,
}

/// Why a workbench cannot be made.
#[derive(Debug, Error)]
pub enum WorkbenchError {
    /// The model's files.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model's tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The model's chat template.
    #[error(transparent)]
    Template(#[from] crate::model::template::TemplateError),
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// A loaded model, a sandbox, and the roles over them.
pub struct Workbench {
    /// Solves tasks.
    pub supervisor: Supervisor,
    /// What the model is.
    pub model: ModelInfo,
    /// Its hyperparameters.
    pub config: ModelConfig,
    /// Bytes that a forward pass reads of its weights.
    pub weight_bytes: usize,
    /// Bytes of keys and values a token.
    pub kv_bytes_per_token: usize,
    /// The GPUs that it is on; none: the processor computes it.
    pub gpus: Vec<GpuInfo>,
    /// Its sandbox.
    pub pool: Arc<Pool>,
    threads: usize,
    /// One for each copy of the model. They end when the workbench is dropped.
    engines: Vec<Engine>,
}

impl Workbench {
    /// Loads the model and starts the engine and the sandbox.
    ///
    /// # Errors
    /// See [`WorkbenchError`].
    pub fn open(options: &WorkbenchOptions<'_>) -> Result<Self, WorkbenchError> {
        // The sandbox first: it is quick, and a machine without Python should say so before the model is loaded.
        let pool = Arc::new(Pool::new(options.sandbox.clone())?);
        let path = &options.model.path;
        let files = ModelFiles::named(&options.model.name, path)?;
        let tokenizer = Arc::new(files.tokenizer(path)?);
        let base = options.model.manifest.as_ref().is_some_and(|m| m.chat == Some(crate::source::Chat::None));
        let chat = match tokenizer.chat_template().filter(|_| !base) {
            Some(source) => Some(ChatTemplate::new(source, &tokenizer.bos_text(), &tokenizer.eos_text())?),
            None => None,
        };
        let mut quantization = files.quantization();
        if let Some(dtype) = options.placement.quantise {
            quantization.push_str(&format!(", quantised to {dtype:?}"));
        }
        let placed = files.place(options.placement)?;
        if tokenizer.vocab_size() > placed.config.vocab {
            return Err(ModelError::Config(format!(
                "the tokenizer has {} tokens, the model {}: they do not belong together",
                tokenizer.vocab_size(),
                placed.config.vocab
            ))
            .into());
        }
        let model = ModelInfo {
            name: options.model.name.clone(),
            file: path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
            sha256: options.model.sha256.clone(),
            architecture: placed.config.architecture.name().to_owned(),
            quantization,
            arithmetic: placed
                .gpus
                .first()
                .map_or_else(arithmetic_of_cpu, |gpu| format!("cuda sm_{}", gpu.capability)),
        };
        // The engine's own threads have nothing to do where a GPU computes.
        let threads = if placed.gpus.is_empty() { options.threads } else { 1 };
        let start = |model| {
            let interrupt = options.interrupt.clone();
            Engine::start(model, EngineOptions { threads, interrupt, ..EngineOptions::default() })
        };
        let engines: Vec<Engine> = placed.models.into_iter().map(start).collect();
        let clients: Vec<Client> = engines.iter().map(Engine::client).collect();
        let prompts = Prompts::new(tokenizer.clone(), chat, options.prompts);
        let supervisor = Supervisor {
            coder: Box::new(EngineCoder::new(clients, tokenizer.clone())),
            language: Box::new(Python),
            reviewer: Box::new(CPython::new(pool.clone())),
            evaluator: Box::new(evaluator::Sandboxed::new(pool.clone(), options.limits)),
            tester: Box::new(tester::Sandboxed::new(pool.clone(), options.limits)),
            prompts,
            tokenizer,
        };
        Ok(Self {
            supervisor,
            model,
            config: placed.config,
            weight_bytes: placed.weight_bytes,
            kv_bytes_per_token: placed.kv_bytes_per_token,
            gpus: placed.gpus,
            pool,
            threads,
            engines,
        })
    }

    /// Access to the engines, one for each copy of the model.
    pub fn clients(&self) -> Vec<Client> {
        self.engines.iter().map(Engine::client).collect()
    }

    /// Name of what computes the model.
    pub fn device(&self) -> String {
        let names: Vec<&str> = self.gpus.iter().map(|gpu| gpu.name.as_str()).collect();
        if names.is_empty() { "cpu".to_owned() } else { names.join(" + ") }
    }

    /// What computes on this machine, for the manifest.
    pub fn part(&self, finished_before: usize, concurrency: usize) -> Part {
        Part {
            process: String::new(),
            finished_before,
            vigor: env!("CARGO_PKG_VERSION").to_owned(),
            binary_sha256: super::manifest::binary_sha256().unwrap_or_default(),
            device: self.device(),
            threads: self.threads,
            simd: Isa::detect().name().to_owned(),
            concurrency,
            sandbox: self.pool.layers().iter().filter(|l| l.active).map(|l| l.name.clone()).collect(),
            python: self.pool.python().version.clone(),
        }
    }
}

impl Solver for Workbench {
    fn solve(&self, job: &SessionJob, progress: &dyn Progress) -> Result<SessionOutcome, SolveError> {
        let attempt = Attempt {
            task: job.task,
            cell: &job.cell.name,
            method: &job.cell.config,
            prompt: job.cell.prompt,
            seed: job.seed,
            limits: job.limits,
            stop: job.stop,
        };
        let outcome = self.supervisor.solve(&attempt, &mut |report| {
            progress.step(&StepProgress {
                index: job.index,
                task: &job.task.id,
                cell: &job.cell.name,
                step: report.step,
                program: report.program,
                tokens: report.generated_tokens,
            });
        });
        match outcome {
            Ok(outcome) => Ok(record(outcome)),
            Err(SessionError::Stopped) => Err(SolveError::Stopped),
            Err(error) => Err(SolveError::Failed(error.to_string())),
        }
    }
}

/// An outcome as the lines that a run keeps of it.
pub fn record(outcome: Outcome) -> SessionOutcome {
    let Outcome { key, events, program, score, guided, end, counts, seconds } = outcome;
    let events = events.into_iter().map(|event| TraceLine { session: key.clone(), event }).collect();
    let timing = TimingRow {
        session: key.clone(),
        seconds: seconds.total,
        propose: seconds.propose,
        gate: seconds.gate,
        execute: seconds.execute,
        guide: seconds.guide,
        commit: seconds.commit,
        score: seconds.score,
    };
    let result = ResultRow {
        session: key,
        program,
        passed_guiding: Score::all_passed(&score.guiding),
        passed_held_out: Score::all_passed(&score.held_out),
        guiding: score.guiding,
        held_out: score.held_out,
        guided,
        steps: counts.steps,
        generated_tokens: counts.engine.generated_tokens,
        committed_tokens: counts.committed_tokens,
        prefill_tokens: counts.engine.prefill_tokens,
        forward_passes: counts.engine.forward_passes,
        drafted_tokens: counts.engine.drafted_tokens,
        accepted_tokens: counts.engine.accepted_tokens,
        executions: counts.executions,
        end,
        solved_by: None,
    };
    SessionOutcome { result, events, timing }
}
