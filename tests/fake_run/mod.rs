//! A run whose solver is a fake: what a session comes to follows from its job alone, after a random short time.
#![allow(dead_code)] // Each test file that includes this uses its own part of it.

use std::collections::hash_map::{DefaultHasher, RandomState};
use std::hash::{BuildHasher, Hash, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use vigor::run::journal::OUTPUTS;
use vigor::run::{
    DatasetInfo, Journal, ModelInfo, NoProgress, Part, Progress, RunConfig, RunError, RunManifest,
    SessionJob, SessionOutcome, SolveError, Solver, Summary, execute,
};
use vigor::session::trace::{
    Alternative, Decision, DecodedToken, End, EndReason, Event, SessionKey, Source, Start, Step, TestVerdict,
    TraceLine,
};
use vigor::task::{PromptKind, Task};

/// One greedy cell, three guided ones.
pub fn config(concurrency: usize, seed: u64) -> RunConfig {
    let text = format!(
        "[run]\nname = \"fake\"\nseed = {seed}\nconcurrency = {concurrency}\n\
         [model]\nname = \"none\"\n[dataset]\nname = \"fake\"\n\
         [[method]]\nmethod = \"greedy\"\n[[method]]\nmethod = \"eg-cfg\"\ngamma = [0, 1, 3]\n"
    );
    RunConfig::parse(&text, Path::new("fake.toml")).unwrap()
}

pub fn tasks(count: usize) -> Vec<Task> {
    let task = |i| Task {
        id: format!("Fake/{i}"),
        prompt: format!("def f{i}():\n"),
        prompt_kind: PromptKind::Code,
        entry_point: Some(format!("f{i}")),
        imports: String::new(),
        setup: String::new(),
        guiding_tests: Vec::new(),
        held_out_tests: Vec::new(),
        reference_solution: None,
    };
    (0..count).map(task).collect()
}

pub fn manifest(config: &RunConfig, tasks: &[Task]) -> RunManifest {
    let model = ModelInfo {
        name: "none".into(),
        file: "none.gguf".into(),
        sha256: "00".into(),
        architecture: "fake".into(),
        quantization: "F32".into(),
        arithmetic: "cpu".into(),
    };
    let dataset = DatasetInfo { name: "fake".into(), sha256: "11".into(), tasks: tasks.len() };
    let part = Part {
        process: String::new(),
        finished_before: 0,
        vigor: "0".into(),
        binary_sha256: "22".into(),
        device: "cpu".into(),
        threads: config.run.concurrency,
        simd: "none".into(),
        concurrency: config.run.concurrency,
        sandbox: vec!["seccomp".into()],
        python: "3".into(),
    };
    RunManifest::new(config, model, dataset, tasks, part)
}

/// Sleeps up to `millis`, then returns what the job alone decides.
pub struct Fake {
    pub millis: u64,
}

impl Solver for Fake {
    fn solve(&self, job: &SessionJob, _progress: &dyn Progress) -> Result<SessionOutcome, SolveError> {
        let random = RandomState::new().hash_one(job.index);
        std::thread::sleep(Duration::from_micros(random % (1000 * self.millis + 1)));
        if job.stop.load(Ordering::SeqCst) {
            return Err(SolveError::Stopped);
        }
        Ok(outcome(job))
    }
}

pub fn outcome(job: &SessionJob) -> SessionOutcome {
    let mut hasher = DefaultHasher::new();
    (&job.task.id, &job.cell.name, job.seed).hash(&mut hasher);
    let hash = hasher.finish();
    let session = SessionKey {
        task_id: job.task.id.clone(),
        cell: job.cell.name.clone(),
        method: job.cell.config.name().into(),
        gamma: job.cell.config.gamma(),
        seed: job.seed,
    };
    let event = |event| TraceLine { session: session.clone(), event };
    let mut events = vec![event(Event::Start(Start {
        schema: 1,
        prompt: job.task.prompt.clone(),
        prompt_tokens: 7,
        guiding_tests: vec![],
        guided: false,
        policy: serde_json::to_value(&job.cell.config).unwrap(),
    }))];
    // Numbers of all sizes: read back and written again they would not all be the same text.
    let logprob = -(hash as f32) / 1e18;
    for step in 0..hash as usize % 7 {
        events.push(event(Event::Step(Step {
            step,
            candidates: vec![],
            signal: None,
            tokens: vec![DecodedToken {
                id: 5,
                text: "é\n".into(),
                top: vec![Alternative { id: 5, p: logprob, q: Some(logprob / 3.0) }],
            }],
            decision: Decision {
                source: Source::Guided,
                text: format!("    x = {hash}\n"),
                tokens: vec![5],
                reason: "fake".into(),
                end: None,
            },
        })));
    }
    let program = format!("# {hash}\n");
    events.push(event(Event::End(End { reason: EndReason::EndOfText, program: program.clone() })));
    let verdict = TestVerdict { kind: "passed".into(), message: String::new() };
    SessionOutcome {
        result: vigor::run::files::ResultRow {
            session: session.clone(),
            program,
            guiding: vec![verdict.clone()],
            held_out: vec![verdict],
            passed_guiding: hash.is_multiple_of(2),
            passed_held_out: hash.is_multiple_of(3),
            guided: true,
            steps: 1,
            generated_tokens: hash as usize % 100,
            committed_tokens: 3,
            prefill_tokens: 9,
            forward_passes: 4,
            drafted_tokens: 0,
            accepted_tokens: 0,
            executions: 2,
            end: EndReason::EndOfText,
            solved_by: None,
        },
        events,
        timing: vigor::run::files::TimingRow {
            session,
            seconds: hash as f64 / 7e18,
            propose: 0.1,
            gate: 0.2,
            execute: 0.3,
            guide: 0.4,
            commit: 0.5,
            score: 0.6,
        },
    }
}

pub fn run(dir: &Path, config: &RunConfig, tasks: &[Task], solver: &dyn Solver) -> Result<Summary, RunError> {
    let mut journal = Journal::open(dir, manifest(config, tasks))?;
    execute(&mut journal, config, tasks, solver, &NoProgress, &AtomicBool::new(false))
}

/// The three files.
pub fn outputs(dir: &Path) -> [String; 3] {
    OUTPUTS.map(|name| std::fs::read_to_string(dir.join(name)).unwrap())
}

/// What a run of `count` tasks that nothing disturbed leaves.
pub fn undisturbed(count: usize) -> [String; 3] {
    let dir = tempfile::tempdir().unwrap();
    let summary = run(dir.path(), &config(1, 0), &tasks(count), &Fake { millis: 0 }).unwrap();
    assert!(summary.complete());
    let outputs = outputs(dir.path());
    assert_eq!(outputs[0].lines().count(), 4 * count);
    outputs
}
