//! Sessions with a small real model in the named styles, and with signals that last several lines.

use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use vigor::model::device::{Placement, Wanted};
use vigor::run::workbench::{Workbench, WorkbenchOptions};
use vigor::sandbox::{Limits as SandboxLimits, Policy, PoolConfig};
use vigor::session::method::{EgCfgConfig, Limits, MethodConfig, PromptTemplates};
use vigor::session::replay::replay;
use vigor::session::style::{Layout, PromptStyle};
use vigor::session::trace::{Event, Source, Step};
use vigor::session::{Attempt, Outcome};
use vigor::source::{FetchOptions, Kind, resolve};
use vigor::task::{Task, load};

/// A chat model, given raw text.
fn bench() -> &'static Workbench {
    static BENCH: OnceLock<Workbench> = OnceLock::new();
    BENCH.get_or_init(|| {
        let model =
            resolve("smollm2-135m-instruct", Kind::Model, &FetchOptions::default()).expect("the model");
        Workbench::open(&WorkbenchOptions {
            model: &model,
            threads: 2,
            placement: &Placement { device: Wanted::Cpu, kv_bytes: Some(1 << 30), ..Placement::default() },
            prompts: &PromptTemplates { layout: Layout::Raw, ..PromptTemplates::default() },
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
    })
}

fn task(id: &str) -> Task {
    let dataset = resolve("humaneval", Kind::Dataset, &FetchOptions::default()).expect("the dataset");
    let tasks = load("humaneval", &dataset.path).expect("a valid dataset");
    tasks.into_iter().find(|task| task.id == id).expect("the task")
}

fn solve(task: &Task, prompt: PromptStyle, refresh_lines: usize) -> Outcome {
    static RUN: AtomicBool = AtomicBool::new(false);
    let mut config = EgCfgConfig { gamma: 1.0, horizon: 1, refresh_lines, ..EgCfgConfig::default() };
    config.sampling.n = 2;
    let method = MethodConfig::EgCfg(config);
    let limits = Limits { max_tokens: 120, ..Limits::default() };
    let attempt = Attempt { task, cell: "eg-cfg", method: &method, prompt, seed: 5, limits, stop: &RUN };
    bench().supervisor.solve(&attempt, &mut |_| {}).expect("a session")
}

fn steps(outcome: &Outcome) -> Vec<&Step> {
    outcome.events.iter().filter_map(|e| if let Event::Step(s) = e { Some(s) } else { None }).collect()
}

/// A raw prompt of a named style is answered in a fence, guided lines are found, and replay agrees.
#[test]
fn named_styles_guide_a_chat_model_through_raw_text() {
    let task = task("HumanEval/53");
    for style in [PromptStyle::Instruct3Shot, PromptStyle::LongCode] {
        let outcome = solve(&task, style, 1);
        let Some(Event::Start(start)) = outcome.events.first() else { panic!("no start") };
        assert_eq!(start.policy["prompt"], style.name());
        assert!(
            start.prompt.ends_with("### Response:\n```python\n") && !start.prompt.contains("<|im_start|>")
        );
        assert!(outcome.program.contains("def add"), "{style:?}: {}", outcome.program);
        assert!(!outcome.program.contains("```"), "{style:?}: {}", outcome.program);
        assert!(
            steps(&outcome).iter().any(|s| s.decision.source == Source::Guided),
            "{style:?}: never guided"
        );
        assert_eq!(replay(&outcome.events).differences, [], "{style:?}");
    }
}

/// Everything before the signal is the trunk's: a conditional prompt reads only what its signal changed.
#[test]
fn a_named_style_shares_the_trunk_up_to_the_signal() {
    let (task, style) = (task("HumanEval/53"), PromptStyle::Instruct3Shot);
    let outcome = solve(&task, style, 1);
    let plain = bench().supervisor.prompts.plain(&task, style).expect("a prompt").tokens.len();
    let signals: Vec<usize> =
        steps(&outcome).iter().filter_map(|s| s.signal.as_ref()).map(|s| s.prompt_tokens).collect();
    assert!(!signals.is_empty());
    // The prompt once; of each conditional prompt what is beyond it, with the few tokens around the seam; and the last
    // token of each line.
    let beyond: usize = signals.iter().map(|tokens| tokens - plain + 24).sum();
    let bound = plain + beyond + steps(&outcome).len();
    assert!(
        outcome.counts.engine.prefill_tokens <= bound,
        "{} > {bound}",
        outcome.counts.engine.prefill_tokens
    );
    assert!(bound < signals.iter().sum::<usize>() + plain, "the bound says nothing");
}

/// The signals of a session, after a check that each guided exactly the lines that it should: those that it was made anew
/// for, and those that it was kept for.
fn signals(outcome: &Outcome, lasts: usize) -> (usize, usize) {
    let (mut made, mut text, mut anew, mut kept) = (None, String::new(), 0, 0);
    for step in steps(outcome) {
        let Some(signal) = &step.signal else { continue };
        match made {
            Some(at) if step.step - at < lasts => {
                assert!(step.candidates.is_empty() && signal.text == text, "step {}", step.step);
                kept += 1;
            }
            _ => {
                assert!(!step.candidates.is_empty(), "step {}", step.step);
                (made, text) = (Some(step.step), signal.text.clone());
                anew += 1;
            }
        }
    }
    (anew, kept)
}

/// With k = 2 a signal guides two lines: the second samples nothing and has the same text.
#[test]
fn a_signal_lasts_as_many_lines_as_it_should() {
    let every = solve(&task("HumanEval/53"), PromptStyle::Instruct3Shot, 1);
    assert!(matches!(signals(&every, 1), (1.., 0)));
    // The first task whose program is long enough for two signals.
    let second = ["HumanEval/3", "HumanEval/9", "HumanEval/0", "HumanEval/5"]
        .iter()
        .map(|id| solve(&task(id), PromptStyle::Instruct3Shot, 2))
        .find(|outcome| matches!(signals(outcome, 2), (2.., 1..)))
        .expect("a program of three guided lines");
    assert_eq!(replay(&second.events).differences, []);
    // Replay says where a signal was not kept, or made too early.
    let told = |change: &dyn Fn(&mut Vec<Event>)| {
        let mut events = second.events.clone();
        change(&mut events);
        replay(&events).differences.iter().map(|d| d.what.clone()).collect::<Vec<_>>().join("\n")
    };
    let nth = |events: &mut Vec<Event>, kept: bool, change: &dyn Fn(&mut Step)| {
        let wanted = |s: &Step| s.signal.is_some() && s.candidates.is_empty() == kept;
        let step = events.iter_mut().find_map(|e| match e {
            Event::Step(step) if wanted(step) => Some(step),
            _ => None,
        });
        change(step.expect("such a step"));
    };
    let other = told(&|events| nth(events, true, &|step| step.signal.as_mut().unwrap().text.push('x')));
    assert!(other.contains("which was to be kept"), "{other}");
    let none = told(&|events| nth(events, false, &|step| step.candidates.clear()));
    assert!(none.contains("the signal comes from no candidate"), "{none}");
    let early = told(&|events| {
        let Some(Event::Start(start)) = events.first_mut() else { panic!("no start") };
        start.policy["method"]["refresh_lines"] = 9.into();
    });
    assert!(early.contains("made anew"), "{early}");
}
