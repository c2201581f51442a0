//! Sessions with the real default model: what the methods promise, checked on what they recorded.

use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use vigor::engine::{Finish, RngKey, Sampler, Sampling};
use vigor::model::device::{Placement, Wanted};
use vigor::run::workbench::{Workbench, WorkbenchOptions, record};
use vigor::sandbox::{Limits as SandboxLimits, Policy, PoolConfig};
use vigor::session::coder::Ask;
use vigor::session::lines::first_line;
use vigor::session::method::{EgCfgConfig, Limits, MethodConfig, PromptTemplates, SampleConfig, VigorConfig};
use vigor::session::replay::replay;
use vigor::session::style::PromptStyle;
use vigor::session::trace::{Event, Source, Step};
use vigor::session::{Attempt, Outcome};
use vigor::source::{FetchOptions, Kind, Resolved, resolve};
use vigor::task::{Task, load};

fn model() -> Resolved {
    resolve("qwen2.5-coder-0.5b-instruct", Kind::Model, &FetchOptions::default())
        .expect("the model can be had")
}

fn bench(threads: usize) -> Workbench {
    Workbench::open(&WorkbenchOptions {
        model: &model(),
        threads,
        placement: &Placement { device: Wanted::Cpu, kv_bytes: Some(1 << 30), ..Placement::default() },
        prompts: &PromptTemplates::default(),
        limits: SandboxLimits::default(),
        sandbox: PoolConfig {
            launcher: env!("CARGO_BIN_EXE_vigor").into(),
            workers: 2,
            policy: Policy::BestEffort,
            ..PoolConfig::default()
        },
        interrupt: Default::default(),
    })
    .expect("a workbench")
}

fn shared() -> &'static Workbench {
    static BENCH: OnceLock<Workbench> = OnceLock::new();
    BENCH.get_or_init(|| bench(2))
}

fn tasks(ids: &[&str]) -> Vec<Task> {
    let dataset =
        resolve("humaneval", Kind::Dataset, &FetchOptions::default()).expect("the dataset can be had");
    let all = load("humaneval", &dataset.path).expect("a valid dataset");
    all.into_iter().filter(|t| ids.contains(&t.id.as_str())).collect()
}

fn solve(bench: &Workbench, task: &Task, method: &MethodConfig, max_tokens: usize) -> Outcome {
    static RUN: AtomicBool = AtomicBool::new(false);
    let limits = Limits { max_tokens, ..Limits::default() };
    let prompt = PromptStyle::Default;
    let attempt = Attempt { task, cell: method.name(), method, prompt, seed: 5, limits, stop: &RUN };
    bench.supervisor.solve(&attempt, &mut |_| {}).expect("a session")
}

fn eg_cfg(gamma: f64) -> MethodConfig {
    let mut config = EgCfgConfig { gamma, horizon: 2, ..EgCfgConfig::default() };
    config.sampling.n = 2;
    MethodConfig::EgCfg(config)
}

fn vigor() -> MethodConfig {
    let mut config = VigorConfig { horizon: 1, ..VigorConfig::default() };
    config.sampling.n = 3;
    MethodConfig::Vigor(config)
}

fn sample() -> MethodConfig {
    let mut config = SampleConfig::default();
    config.sampling.n = 2;
    MethodConfig::Sample(config)
}

fn steps(outcome: &Outcome) -> Vec<&Step> {
    outcome.events.iter().filter_map(|e| if let Event::Step(s) = e { Some(s) } else { None }).collect()
}

/// Every event stands in order; every step commits at most one line with content; the program is the committed
/// lines one after another, so the prefix only ever grew; replay agrees with every decision.
#[test]
fn one_commit_a_step_and_replay_agrees() {
    let task = &tasks(&["HumanEval/53"])[0];
    for method in [MethodConfig::Greedy, sample(), vigor(), eg_cfg(1.0), eg_cfg(3.0)] {
        let outcome = solve(shared(), task, &method, 120);
        assert!(matches!(outcome.events.first(), Some(Event::Start(_))));
        assert!(matches!(outcome.events.last(), Some(Event::End(_))));
        let mut program = String::new();
        for (i, step) in steps(&outcome).into_iter().enumerate() {
            assert_eq!(step.step, i);
            let content = step.decision.text.lines().filter(|l| !l.trim().is_empty()).count();
            let allowed = if method.name() == "sample" { usize::MAX } else { 1 };
            assert!(content <= allowed, "{}: {:?}", method.name(), step.decision.text);
            assert!(content == 1 || step.decision.end.is_some(), "{}: a step without a line", method.name());
            program.push_str(&step.decision.text);
        }
        assert_eq!(program, outcome.program, "{}", method.name());
        let replayed = replay(&outcome.events);
        assert_eq!(replayed.differences, [], "{}", method.name());
        assert_eq!(replayed.decisions, steps(&outcome).len());
    }
}

/// A sample that the budget cut off is run as it would be scored, and so passes nothing: with a repair it would be chosen for what
/// it is not.
#[test]
fn samples_are_run_as_they_are() {
    let task = &tasks(&["HumanEval/53"])[0];
    for max_tokens in [6, 120] {
        let outcome = solve(shared(), task, &sample(), max_tokens);
        let step = steps(&outcome)[0];
        let given = outcome.program.strip_suffix(step.decision.text.as_str()).expect("what was given");
        let run: Vec<_> = step.candidates.iter().filter_map(|c| Some((c, c.execution.as_ref()?))).collect();
        assert!(!run.is_empty(), "{:?}", step.candidates);
        for (candidate, execution) in run {
            assert_eq!(execution.program, format!("{given}{}", candidate.text));
        }
        let cut = step.candidates.iter().any(|candidate| candidate.ended == "length");
        assert!(cut == (max_tokens == 6), "{:?}", step.candidates);
    }
}

/// A text that ends in the middle of a line is an end, not an empty line to be tried again for ever.
#[test]
fn a_text_may_end_without_a_newline() {
    let tokenizer = &shared().supervisor.tokenizer;
    let end = tokenizer.eos_ids()[0];
    let line = first_line(tokenizer, "    return x", &[end], Finish::EndOfText);
    assert_eq!((line.tokens, line.end), (0, Some(Finish::EndOfText)));
    let mut tokens = tokenizer.encode("  # done", false).expect("tokens");
    let words = tokens.len();
    tokens.push(end);
    let line = first_line(tokenizer, "    return x", &tokens, Finish::EndOfText);
    assert_eq!((line.tokens, line.text.as_str(), line.end), (words, "  # done", None));
    let mut tokens = tokenizer.encode("\n\n```", false).expect("tokens");
    let line = first_line(tokenizer, "    return x", &tokens, Finish::Fence);
    // The newline that ends the open line is text of its own; the fence ends the next step.
    assert_eq!((line.text.as_str(), line.end), ("\n\n", None));
    tokens.insert(0, tokenizer.encode(" + 1", false).expect("tokens")[0]);
    let line = first_line(tokenizer, "    return x", &tokens, Finish::Fence);
    assert!(line.text.starts_with(" +") && line.text.ends_with('\n') && line.end.is_none(), "{line:?}");
}

/// A fence is recognised however the tokens cut it, and is never program.
#[test]
fn a_fence_is_never_program() {
    let tokenizer = &shared().supervisor.tokenizer;
    let encode = |text: &str| tokenizer.encode(text, false).expect("tokens");
    for fence in [encode("```"), encode("```\n\n"), [encode("``"), encode("`\n\n")].concat()] {
        let line = first_line(tokenizer, "", &fence, Finish::Fence);
        assert_eq!((line.tokens, line.end), (0, Some(Finish::Fence)), "{fence:?}");
        let after_code = [encode("x = 1\n"), fence].concat();
        assert_eq!(first_line(tokenizer, "", &after_code, Finish::Fence).text, "x = 1\n");
    }
}

#[test]
fn gamma_zero_writes_what_greedy_writes() {
    for task in &tasks(&["HumanEval/2", "HumanEval/53"]) {
        let greedy = solve(shared(), task, &MethodConfig::Greedy, 150);
        let guided = solve(shared(), task, &eg_cfg(0.0), 150);
        assert_eq!(greedy.program.as_bytes(), guided.program.as_bytes(), "{}", task.id);
        assert!(
            steps(&guided).iter().any(|s| s.decision.source == Source::Guided),
            "{}: never guided",
            task.id
        );
    }
}

/// With γ = 1 every guided line is the greedy line of the conditional prompt, decoded on its own.
#[test]
fn gamma_one_decodes_the_conditional_prompt() {
    let task = &tasks(&["HumanEval/53"])[0];
    let outcome = solve(shared(), task, &eg_cfg(1.0), 120);
    let roles = &shared().supervisor;
    let (mut program, mut committed, mut guided) = (String::new(), Vec::new(), 0);
    for step in steps(&outcome) {
        if let (Some(signal), Source::Guided) = (&step.signal, step.decision.source) {
            assert!(!signal.text.contains("\"\"\""), "the signal spends its room on docstrings");
            let mut tokens =
                roles.prompts.conditional(task, PromptStyle::Default, &signal.text).expect("a prompt").tokens;
            tokens.extend_from_slice(&committed);
            assert_eq!(tokens.len(), signal.prompt_tokens);
            let trunk = roles.coder.begin(&tokens).expect("a sequence");
            let ask = Ask {
                prefix: &program,
                n: 1,
                sampler: Sampler::Temperature,
                sampling: Sampling::GREEDY,
                key: RngKey::new(0),
                lines: Some(1),
                logical: false,
                fenced: true,
                max_tokens: 120 - committed.len(),
                alternatives: 0,
            };
            let (proposals, _) = roles.coder.propose(&trunk, &ask).expect("a line");
            assert_eq!(proposals[0].line.text, step.decision.text);
            guided += 1;
        }
        program.push_str(&step.decision.text);
        committed.extend_from_slice(&step.decision.tokens);
    }
    assert!(guided > 0, "no line was guided");
}

/// The conditional prompt of a step costs what its signal changed: everything before is shared with the last one, or
/// with the trunk.
#[test]
fn a_conditional_prompt_costs_what_changed() {
    let task = &tasks(&["HumanEval/53"])[0];
    let outcome = solve(shared(), task, &eg_cfg(3.0), 120);
    let prompts = &shared().supervisor.prompts;
    let common = |a: &[u32], b: &[u32]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let plain = prompts.plain(task, PromptStyle::Default).expect("a prompt").tokens;
    // The prompt is read once; every later step reads the last committed token.
    let mut expected = plain.len() + steps(&outcome).len() - 1;
    let (mut committed, mut last, mut whole) = (Vec::new(), Vec::new(), 0);
    for step in steps(&outcome) {
        if let Some(signal) = &step.signal {
            let mut tokens =
                prompts.conditional(task, PromptStyle::Default, &signal.text).expect("a prompt").tokens;
            tokens.extend_from_slice(&committed);
            whole += tokens.len();
            // The last token of a sequence is not read before something is asked about what follows it.
            let shared =
                common(&last, &tokens).min(last.len().saturating_sub(1)).max(common(&plain, &tokens));
            expected += (tokens.len() - shared).max(1);
            tokens.extend(step.tokens.iter().map(|t| t.id));
            last = tokens;
        }
        committed.extend_from_slice(&step.decision.tokens);
    }
    assert_eq!(outcome.counts.engine.prefill_tokens, expected);
    assert!(whole > 0 && expected < whole, "{expected} of {whole}");
}

/// Guessing tokens ahead saves forward passes and changes nothing else of a session: not its trace, not its result.
#[test]
fn speculation_changes_only_the_number_of_passes() {
    let tasks = tasks(&["HumanEval/3", "HumanEval/53"]);
    for (task, gamma, sample_line) in
        [(&tasks[1], 1.0, false), (&tasks[0], 3.0, false), (&tasks[1], 1.5, true)]
    {
        let solved = |speculate: bool| {
            let MethodConfig::EgCfg(config) = eg_cfg(gamma) else { unreachable!("it is eg-cfg") };
            let method = MethodConfig::EgCfg(EgCfgConfig { speculate, sample_line, ..config });
            let mut outcome = solve(shared(), task, &method, 60);
            let Some(Event::Start(start)) = outcome.events.first_mut() else { panic!("no start") };
            start.policy["method"].as_object_mut().expect("an object").remove("speculate").expect("recorded");
            outcome
        };
        let (with, without) = (solved(true), solved(false));
        let bytes = |events: &[Event]| serde_json::to_string(events).expect("JSON");
        assert_eq!(bytes(&with.events), bytes(&without.events), "{} γ={gamma}", task.id);
        assert_eq!((&with.program, &with.score), (&without.program, &without.score));
        let (on, off) = (with.counts.engine, without.counts.engine);
        assert_eq!((on.prefill_tokens, on.generated_tokens), (off.prefill_tokens, off.generated_tokens));
        assert_eq!((off.drafted_tokens, off.accepted_tokens), (0, 0));
        assert!(0 < on.accepted_tokens && on.accepted_tokens < on.drafted_tokens, "{on:?}");
        // Each accepted token saves a pass; a guess may push the end of a prompt into one more chunk.
        let lines = with.counts.steps;
        let saved = on.forward_passes + on.accepted_tokens;
        assert!((off.forward_passes..=off.forward_passes + lines).contains(&saved), "{on:?} {off:?}");
    }
}

/// One session alone on one thread, and all at once on two: the same events and results, byte for byte.
#[test]
fn threads_and_company_change_nothing() {
    let tasks = tasks(&["HumanEval/2", "HumanEval/53"]);
    let jobs: Vec<(&Task, MethodConfig)> = tasks
        .iter()
        .flat_map(|t| [MethodConfig::Greedy, sample(), vigor(), eg_cfg(1.5)].map(|m| (t, m)))
        .collect();
    let bytes = |outcome: Outcome| {
        let recorded = record(outcome);
        let result = serde_json::to_string(&recorded.result).expect("JSON");
        recorded.events.iter().fold(result, |all, e| all + &serde_json::to_string(e).expect("JSON"))
    };
    let alone: Vec<String> = {
        let bench = bench(1);
        jobs.iter().map(|(task, method)| bytes(solve(&bench, task, method, 60))).collect()
    };
    let together: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = jobs
            .iter()
            .map(|(task, method)| scope.spawn(move || bytes(solve(shared(), task, method, 60))))
            .collect();
        threads.into_iter().map(|t| t.join().expect("no panic")).collect()
    });
    for ((task, method), (a, b)) in jobs.iter().zip(alone.iter().zip(&together)) {
        assert_eq!(a, b, "{} {}", task.id, method.name());
    }
}
