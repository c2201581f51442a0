//! A run's folder, written through the real types from what a test says of each session.
#![allow(dead_code)] // Each test file that includes this uses its own part of it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use vigor::run::files::{ResultRow, TimingRow};
use vigor::run::{DatasetInfo, ModelInfo, Part, RunConfig, RunManifest};
use vigor::session::trace::{
    Candidate, Decision, End, EndReason, Event, Execution, Gate, LineClass, SCHEMA_VERSION, SessionKey,
    Source, Start, Step, TestVerdict, TraceLine,
};
use vigor::task::{PromptKind, Task};

/// What all sessions of a run share.
#[derive(Clone)]
pub struct Run<'a> {
    pub name: &'a str,
    pub seed: u64,
    pub model: &'a str,
    pub dataset: &'a str,
    /// The names of the tasks.
    pub tasks: Vec<String>,
    /// `[[method]]` blocks, and more sections if need be.
    pub methods: &'a str,
}

impl Default for Run<'_> {
    fn default() -> Self {
        Self {
            name: "made",
            seed: 1,
            model: "m",
            dataset: "d",
            tasks: names(4),
            methods: "[[method]]\nmethod = \"greedy\"\n[[method]]\nmethod = \"eg-cfg\"\ngamma = [1, 3]\n",
        }
    }
}

/// T/0, T/1 …
pub fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("T/{number}")).collect()
}

/// What a session came to.
#[derive(Clone)]
pub struct Session {
    /// `None`: there are no such tests.
    pub held_out: Option<bool>,
    pub guiding: Option<bool>,
    pub tokens: usize,
    pub forward_passes: usize,
    pub executions: usize,
    pub seconds: Option<f64>,
    pub program: String,
    pub steps: Vec<Step>,
    pub prompt: String,
    /// What verdicts say that are not `passed`.
    pub message: String,
    /// Source of the guiding test.
    pub test: String,
    /// The cell because of which the session was skipped: nothing else counts then.
    pub solved_by: Option<String>,
}

impl Session {
    /// With one test of each kind.
    pub fn judged(held_out: bool, guiding: bool) -> Self {
        Self {
            held_out: Some(held_out),
            guiding: Some(guiding),
            tokens: 100,
            forward_passes: 50,
            executions: 4,
            seconds: Some(2.0),
            program: "def f():\n    return 1\n".to_owned(),
            steps: Vec::new(),
            prompt: "Solve it.".to_owned(),
            message: MESSAGE.to_owned(),
            test: "assert f() == 1".to_owned(),
            solved_by: None,
        }
    }

    pub fn skipped(solved_by: &str) -> Self {
        Self { solved_by: Some(solved_by.to_owned()), ..Self::judged(false, false) }
    }
}

const MESSAGE: &str = "got 1, expected 2";

fn verdicts(passed: Option<bool>, message: &str) -> Vec<TestVerdict> {
    let verdict = |passed: bool| TestVerdict {
        kind: if passed { "passed" } else { "failed" }.to_owned(),
        message: if passed { String::new() } else { message.to_owned() },
    };
    passed.into_iter().map(verdict).collect()
}

/// Writes manifest, results, timings and traces; a session without an outcome is not finished.
pub fn write(dir: &Path, run: &Run<'_>, session: impl Fn(usize, usize) -> Option<Session>) {
    let text = format!(
        "[run]\nname = \"{}\"\nseed = {}\n[model]\nname = {}\n[dataset]\nname = \"{}\"\n{}",
        run.name,
        run.seed,
        serde_json::json!(run.model),
        run.dataset,
        run.methods
    );
    let config = RunConfig::parse(&text, Path::new("made.toml")).expect("a configuration");
    let task = |id: &String| Task {
        id: id.clone(),
        prompt: String::new(),
        prompt_kind: PromptKind::Text,
        entry_point: None,
        imports: String::new(),
        setup: String::new(),
        guiding_tests: vec![],
        held_out_tests: vec![],
        reference_solution: None,
    };
    let tasks: Vec<Task> = run.tasks.iter().map(task).collect();
    let model = ModelInfo {
        name: run.model.into(),
        file: "m.gguf".into(),
        sha256: format!("{:064}", run.model.len()),
        architecture: "qwen2".into(),
        quantization: "Q4_K_M".into(),
        arithmetic: "cpu".into(),
    };
    let dataset = DatasetInfo {
        name: run.dataset.into(),
        sha256: format!("{:064}", run.dataset.len()),
        tasks: tasks.len(),
    };
    let part = Part {
        process: String::new(),
        finished_before: 0,
        vigor: "0.1.0".into(),
        binary_sha256: "2".into(),
        device: "cpu".into(),
        threads: 2,
        simd: "avx2".into(),
        concurrency: 1,
        sandbox: vec![],
        python: "3".into(),
    };
    let manifest = RunManifest::new(&config, model, dataset, &tasks, part);
    std::fs::create_dir_all(dir).expect("a folder");
    std::fs::write(dir.join("run_manifest.json"), serde_json::to_string_pretty(&manifest).expect("JSON"))
        .expect("written");
    let open = |name: &str| BufWriter::new(File::create(dir.join(name)).expect("a file"));
    let (mut results, mut timings, mut traces) =
        (open("results.jsonl"), open("timings.jsonl"), open("trace.jsonl"));
    for (at, task) in run.tasks.iter().enumerate() {
        for (cell, of_cell) in config.cells().iter().enumerate() {
            let Some(told) = session(at, cell) else { continue };
            let key = SessionKey {
                task_id: task.clone(),
                cell: of_cell.name.clone(),
                method: of_cell.config.name().into(),
                gamma: of_cell.config.gamma(),
                seed: run.seed,
            };
            if let Some(solved_by) = &told.solved_by {
                let row = ResultRow::skipped(key.clone(), true, solved_by);
                line(&mut results, &row);
                line(&mut timings, &TimingRow::skipped(key));
                continue;
            }
            let row = ResultRow {
                session: key.clone(),
                program: told.program.clone(),
                guiding: verdicts(told.guiding, &told.message),
                held_out: verdicts(told.held_out, &told.message),
                passed_guiding: told.guiding == Some(true),
                passed_held_out: told.held_out == Some(true),
                guided: told.guiding.is_some(),
                steps: told.steps.len(),
                generated_tokens: told.tokens,
                committed_tokens: 10,
                prefill_tokens: 20,
                forward_passes: told.forward_passes,
                drafted_tokens: 0,
                accepted_tokens: 0,
                executions: told.executions,
                end: EndReason::Fence,
                solved_by: None,
            };
            line(&mut results, &row);
            if let Some(seconds) = told.seconds {
                let row = TimingRow {
                    session: key.clone(),
                    seconds,
                    propose: 1.0,
                    gate: 0.1,
                    execute: 0.2,
                    guide: 0.3,
                    commit: 0.2,
                    score: 0.2,
                };
                line(&mut timings, &row);
            }
            let start = Start {
                schema: SCHEMA_VERSION,
                prompt: told.prompt,
                prompt_tokens: 5,
                guiding_tests: vec![told.test],
                guided: told.guiding.is_some(),
                policy: serde_json::json!({ "method": of_cell.config }),
            };
            let end = End { reason: EndReason::Fence, program: told.program };
            let events = std::iter::once(Event::Start(start))
                .chain(told.steps.into_iter().map(Event::Step))
                .chain([Event::End(end)]);
            for event in events {
                line(&mut traces, &TraceLine { session: key.clone(), event });
            }
        }
    }
}

fn line(file: &mut impl Write, row: &impl serde::Serialize) {
    writeln!(file, "{}", serde_json::to_string(row).expect("JSON")).expect("written");
}

/// A candidate with its tokens, mean log-probability and verdict on the one guiding test.
pub fn candidate(index: usize, text: &str, tokens: usize, mean_logprob: f64, passes: bool) -> Candidate {
    Candidate {
        index,
        text: text.into(),
        line: text.into(),
        line_tokens: vec![1, 2],
        tokens,
        logprob: mean_logprob * tokens as f64,
        line_logprob: mean_logprob,
        ended: "end".into(),
        class: LineClass::Executable,
        gate: Gate::Complete,
        duplicate_of: None,
        execution: Some(Execution {
            program: text.into(),
            tests: verdicts(Some(passes), MESSAGE),
            passed: usize::from(passes),
        }),
    }
}

/// The step of a session of `sample` that committed one of the candidates.
pub fn sampled(candidates: Vec<Candidate>, chosen: usize) -> Step {
    let text = candidates[chosen].text.clone();
    Step {
        step: 0,
        candidates,
        signal: None,
        tokens: Vec::new(),
        decision: Decision {
            source: Source::Candidate { index: chosen },
            text,
            tokens: vec![1, 2],
            reason: "made".into(),
            end: Some(EndReason::Fence),
        },
    }
}

/// A step that committed a line directly.
pub fn decoded(step: usize, line: &str) -> Step {
    Step {
        step,
        candidates: Vec::new(),
        signal: None,
        tokens: Vec::new(),
        decision: Decision {
            source: Source::Greedy,
            text: line.into(),
            tokens: vec![7],
            reason: "most probable tokens".into(),
            end: None,
        },
    }
}
