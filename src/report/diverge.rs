//! Where two sessions part: the first step in which their traces differ, and the first line.

use crate::session::trace::{Candidate, DecodedToken, Event, Gate, Source, Start, Step};

/// The first event in which two traces differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The step; `None` where they differ before the first, or after the last.
    pub step: Option<usize>,
    /// What differs there, in the order of the loop: each a name, and both sides.
    pub aspects: Vec<Aspect>,
}

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aspect {
    /// Its name: `prompt`, `candidates`, `signal`, `tokens`, `decision` …
    pub what: &'static str,
    /// Where in it, and how it is in the first trace.
    pub a: String,
    /// In the second.
    pub b: String,
}

/// Compares two traces event by event; `None` where they are the same.
pub fn first_difference(a: &[Event], b: &[Event]) -> Option<Difference> {
    for (x, y) in a.iter().zip(b) {
        if x == y {
            continue;
        }
        let difference = match (x, y) {
            (Event::Start(x), Event::Start(y)) => Difference { step: None, aspects: of_start(x, y) },
            (Event::Step(x), Event::Step(y)) => Difference { step: Some(x.step), aspects: of_step(x, y) },
            (Event::End(x), Event::End(y)) => {
                let (mut aspects, reason) = (Vec::new(), |end| format!("{end:?}"));
                compare(&mut aspects, "end", &reason(x.reason), &reason(y.reason));
                compare(&mut aspects, "program", &x.program, &y.program);
                Difference { step: None, aspects }
            }
            (x, y) => {
                let step = [x, y].into_iter().find_map(|event| match event {
                    Event::Step(step) => Some(step.step),
                    _ => None,
                });
                let aspects = vec![Aspect { what: "event", a: kind(x).into(), b: kind(y).into() }];
                Difference { step, aspects }
            }
        };
        return Some(difference);
    }
    (a.len() != b.len()).then(|| {
        let events = |events: &[Event]| format!("{} events", events.len());
        Difference { step: None, aspects: vec![Aspect { what: "length", a: events(a), b: events(b) }] }
    })
}

fn kind(event: &Event) -> &'static str {
    match event {
        Event::Start(_) => "the start",
        Event::Step(_) => "a step",
        Event::End(_) => "the end",
    }
}

fn of_start(a: &Start, b: &Start) -> Vec<Aspect> {
    let mut aspects = Vec::new();
    compare(&mut aspects, "prompt", &a.prompt, &b.prompt);
    compare(&mut aspects, "guiding tests", &a.guiding_tests.join("\n"), &b.guiding_tests.join("\n"));
    compare(&mut aspects, "policy", &a.policy.to_string(), &b.policy.to_string());
    compare(&mut aspects, "prompt tokens", &a.prompt_tokens.to_string(), &b.prompt_tokens.to_string());
    compare(&mut aspects, "schema", &a.schema.to_string(), &b.schema.to_string());
    compare(&mut aspects, "guided", &a.guided.to_string(), &b.guided.to_string());
    aspects
}

fn of_step(a: &Step, b: &Step) -> Vec<Aspect> {
    let mut aspects = Vec::new();
    compare(&mut aspects, "step", &a.step.to_string(), &b.step.to_string());
    if a.candidates != b.candidates {
        aspects.push(of_candidates(&a.candidates, &b.candidates));
    }
    if a.signal != b.signal {
        let text = |step: &Step| step.signal.as_ref().map(|signal| signal.text.clone());
        match (text(a), text(b)) {
            (Some(x), Some(y)) if x != y => compare(&mut aspects, "signal", &x, &y),
            (Some(_), Some(_)) => {
                let sizes = |step: &Step| {
                    let signal = step.signal.as_ref();
                    signal.map(|signal| format!("{} tokens, capped: {}", signal.prompt_tokens, signal.capped))
                };
                let (a, b) = (sizes(a).unwrap_or_default(), sizes(b).unwrap_or_default());
                compare(&mut aspects, "conditional prompt", &a, &b);
            }
            (x, y) => {
                let told =
                    |text: Option<String>| if text.is_some() { "there is one" } else { "there is none" };
                aspects.push(Aspect { what: "signal", a: told(x).into(), b: told(y).into() });
            }
        }
    }
    if a.tokens != b.tokens {
        aspects.push(of_tokens(&a.tokens, &b.tokens));
    }
    if a.decision != b.decision {
        let (x, y) = (&a.decision, &b.decision);
        compare(&mut aspects, "decision", &source(x.source), &source(y.source));
        compare(&mut aspects, "committed text", &x.text, &y.text);
        compare(&mut aspects, "committed tokens", &format!("{:?}", x.tokens), &format!("{:?}", y.tokens));
        compare(&mut aspects, "reason", &x.reason, &y.reason);
        compare(&mut aspects, "end", &format!("{:?}", x.end), &format!("{:?}", y.end));
    }
    aspects
}

fn of_candidates(a: &[Candidate], b: &[Candidate]) -> Aspect {
    let what = "candidates";
    let Some((x, y)) = a.iter().zip(b).find(|(x, y)| x != y) else {
        let count = |candidates: &[Candidate]| format!("{} of them", candidates.len());
        return Aspect { what, a: count(a), b: count(b) };
    };
    let mut aspects = Vec::new();
    compare(&mut aspects, "text", &x.text, &y.text);
    compare(&mut aspects, "class", &format!("{:?}", x.class), &format!("{:?}", y.class));
    compare(&mut aspects, "gate", &gate(&x.gate), &gate(&y.gate));
    compare(&mut aspects, "verdicts", &verdicts(x), &verdicts(y));
    let program = |candidate: &Candidate| candidate.execution.as_ref().map(|ran| ran.program.clone());
    compare(
        &mut aspects,
        "executed program",
        &program(x).unwrap_or_default(),
        &program(y).unwrap_or_default(),
    );
    compare(&mut aspects, "log p", &x.logprob.to_string(), &y.logprob.to_string());
    compare(&mut aspects, "log p of the line", &x.line_logprob.to_string(), &y.line_logprob.to_string());
    let others = || Aspect { what: "other fields", a: format!("{x:?}"), b: format!("{y:?}") };
    let Aspect { what: field, a, b } = aspects.into_iter().next().unwrap_or_else(others);
    let name = |text: String| format!("#{} {field}: {text}", x.index);
    Aspect { what, a: name(a), b: name(b) }
}

fn of_tokens(a: &[DecodedToken], b: &[DecodedToken]) -> Aspect {
    let at = a.iter().zip(b).position(|(x, y)| x != y).unwrap_or(a.len().min(b.len()));
    let told = |tokens: &[DecodedToken]| match tokens.get(at) {
        Some(token) => format!("token {at}: {}", alternatives(token)),
        None => format!("{} tokens", tokens.len()),
    };
    Aspect { what: "tokens", a: told(a), b: told(b) }
}

/// Adds an aspect where both sides differ; of long texts what begins shortly before the first difference.
fn compare(aspects: &mut Vec<Aspect>, what: &'static str, a: &str, b: &str) {
    /// Characters shown before the first difference, and in all.
    const BEFORE: usize = 30;
    const SHOWN: usize = 120;
    if a == b {
        return;
    }
    let same = a.chars().zip(b.chars()).take_while(|(x, y)| x == y).count();
    let from = if a.chars().count().max(b.chars().count()) > SHOWN { same.saturating_sub(BEFORE) } else { 0 };
    let part = |text: &str| {
        let shown: String = text.chars().skip(from).take(SHOWN).collect();
        let more = |there: bool| if there { "…" } else { "" };
        format!("{}{shown:?}{}", more(from > 0), more(text.chars().count() > from + SHOWN))
    };
    aspects.push(Aspect { what, a: part(a), b: part(b) });
}

/// The first line in which two programs part.
#[derive(Debug, Clone, PartialEq)]
pub struct Divergence<'a> {
    /// The lines before it, which both have.
    pub common: Vec<&'a str>,
    /// How the first goes on.
    pub a: Branch<'a>,
    /// How the second goes on.
    pub b: Branch<'a>,
}

/// A line of a program and the step that committed it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Branch<'a> {
    /// The line; `None` where the program ends.
    pub line: Option<&'a str>,
    /// The step that committed it, or ended the session; `None` where the trace has none.
    pub step: Option<&'a Step>,
}

/// Compares what two sessions committed, line by line; `None` where it is the same.
pub fn first_divergence<'a>(a: &'a [Event], b: &'a [Event]) -> Option<Divergence<'a>> {
    let (a, b) = (lines(a), lines(b));
    let same = a.lines.iter().zip(&b.lines).take_while(|(x, y)| x.0 == y.0).count();
    if same == a.lines.len() && same == b.lines.len() {
        return None;
    }
    let branch = |lines: &Lines<'a>| match lines.lines.get(same) {
        Some((line, step)) => Branch { line: Some(line), step: Some(step) },
        None => Branch { line: None, step: lines.last },
    };
    Some(Divergence {
        common: a.lines[..same].iter().map(|(line, _)| *line).collect(),
        a: branch(&a),
        b: branch(&b),
    })
}

struct Lines<'a> {
    lines: Vec<(&'a str, &'a Step)>,
    last: Option<&'a Step>,
}

fn lines(events: &[Event]) -> Lines<'_> {
    let steps: Vec<&Step> = events
        .iter()
        .filter_map(|event| match event {
            Event::Step(step) => Some(step),
            _ => None,
        })
        .collect();
    let mut lines = Vec::new();
    for step in &steps {
        lines.extend(step.decision.text.lines().map(|line| (line, *step)));
    }
    Lines { lines, last: steps.last().copied() }
}

/// How a step found what it committed, in words.
pub fn source(source: Source) -> String {
    match source {
        Source::Greedy => "decoded greedily".to_owned(),
        Source::Guided => "decoded under guidance".to_owned(),
        Source::Candidate { index } => format!("candidate {index}"),
        Source::Nothing => "nothing committed".to_owned(),
    }
}

/// What the parser said, in words.
pub fn gate(gate: &Gate) -> String {
    match gate {
        Gate::Complete => "complete".to_owned(),
        Gate::Incomplete => "incomplete".to_owned(),
        Gate::Invalid { message } => format!("invalid: {message}"),
    }
}

/// What the guiding tests said of a candidate, in words.
pub fn verdicts(candidate: &Candidate) -> String {
    let Some(execution) = &candidate.execution else { return "not run".to_owned() };
    let kinds: Vec<&str> = execution.tests.iter().map(|test| test.kind.as_str()).collect();
    format!("{}/{} tests ({})", execution.passed, execution.tests.len(), kinds.join(", "))
}

/// A decoded token and its alternatives, as probabilities.
pub fn alternatives(token: &DecodedToken) -> String {
    let each = token.top.iter().map(|top| match top.q {
        Some(q) => format!("{} p {} q {}", top.id, probability(top.p), probability(q)),
        None => format!("{} p {}", top.id, probability(top.p)),
    });
    format!("{:?} ({}), of {}", token.text, token.id, each.collect::<Vec<_>>().join("; "))
}

/// From its logarithm. Guidance weighs the ratio of small probabilities, so these keep two digits, too.
fn probability(log: f32) -> String {
    let value = f64::from(log).exp();
    if value < 0.001 { format!("{value:.1e}") } else { format!("{value:.4}") }
}

#[cfg(test)]
mod tests {
    #[test]
    fn small_probabilities_keep_two_digits() {
        let shown = [0.0625_f64, 0.0012, 1.64e-7].map(|p| super::probability(p.ln() as f32));
        assert_eq!(shown, ["0.0625", "0.0012", "1.6e-7"]);
        assert_eq!(super::probability(f32::NEG_INFINITY), "0.0e0");
    }

    use super::*;

    fn events(steps: &[serde_json::Value]) -> Vec<Event> {
        let start = serde_json::json!({
            "event": "start", "schema": 1, "prompt": "p", "prompt_tokens": 1, "guiding_tests": [], "guided": true, "policy": {}
        });
        let end = serde_json::json!({"event": "end", "reason": "fence", "program": "x"});
        let all = std::iter::once(&start).chain(steps).chain([&end]);
        all.map(|event| serde_json::from_value(event.clone()).expect("an event")).collect()
    }

    fn step(number: usize, text: &str) -> serde_json::Value {
        serde_json::json!({
            "event": "step", "step": number,
            "candidates": [{
                "index": 0, "text": text, "line": text, "line_tokens": [1], "tokens": 1, "logprob": -1.0, "line_logprob": -1.0,
                "ended": "horizon", "class": "executable", "gate": {"verdict": "complete"},
                "execution": {"program": text, "tests": [{"kind": "passed"}], "passed": 1}
            }],
            "signal": {"text": "what happened", "prompt_tokens": 9, "capped": false},
            "tokens": [{"id": 1, "text": text, "top": [{"id": 1, "p": -0.5, "q": -0.25}]}],
            "decision": {"source": {"from": "guided"}, "text": text, "tokens": [1], "reason": "r"}
        })
    }

    /// The names of what differs when one thing is changed in the second of two steps.
    fn differing(path: &str, value: serde_json::Value) -> (Option<usize>, Vec<&'static str>) {
        let (a, mut b) = ([step(0, "a\n"), step(1, "b\n")], [step(0, "a\n"), step(1, "b\n")]);
        *b[1].pointer_mut(path).expect("a place") = value;
        let difference = first_difference(&events(&a), &events(&b)).expect("they differ");
        (difference.step, difference.aspects.iter().map(|aspect| aspect.what).collect())
    }

    #[test]
    fn the_first_difference_is_named() {
        let same = [step(0, "a\n"), step(1, "b\n")];
        assert_eq!(first_difference(&events(&same), &events(&same)), None);
        for (path, value, what) in [
            ("/candidates/0/text", serde_json::json!("c\n"), "candidates"),
            ("/candidates/0/logprob", serde_json::json!(-1.5), "candidates"),
            ("/candidates/0/ended", serde_json::json!("length"), "candidates"),
            ("/candidates/0/execution/tests/0/kind", serde_json::json!("failed"), "candidates"),
            ("/candidates", serde_json::json!([]), "candidates"),
            ("/signal/text", serde_json::json!("what else happened"), "signal"),
            ("/signal/prompt_tokens", serde_json::json!(10), "conditional prompt"),
            ("/signal", serde_json::Value::Null, "signal"),
            ("/tokens/0/top/0/p", serde_json::json!(-0.75), "tokens"),
            ("/tokens", serde_json::json!([]), "tokens"),
            ("/decision/source", serde_json::json!({"from": "greedy"}), "decision"),
            ("/decision/text", serde_json::json!("c\n"), "committed text"),
            ("/decision/reason", serde_json::json!("s"), "reason"),
        ] {
            assert_eq!(differing(path, value.clone()), (Some(1), vec![what]), "{path} {value}");
        }
        let shorter = first_difference(&events(&same), &events(&same[..1])).expect("they differ");
        assert_eq!((shorter.step, shorter.aspects[0].what), (Some(1), "event"));
    }

    #[test]
    fn long_texts_are_shown_where_they_differ() {
        let mut aspects = Vec::new();
        let long = "x".repeat(1000);
        compare(&mut aspects, "prompt", &format!("{long}first{long}"), &format!("{long}second{long}"));
        let Aspect { a, b, .. } = &aspects[0];
        assert!(a.starts_with("…\"xxx") && a.contains("xfirstx") && a.ends_with("x\"…"), "{a}");
        assert!(b.contains("xsecondx") && b.chars().count() < 130, "{b}");
    }

    #[test]
    fn programs_part_at_a_line_whatever_the_steps_are() {
        let by_line = events(&[step(0, "def f():\n"), step(1, "\n    a = 1\n"), step(2, "    return a\n")]);
        let whole = events(&[step(0, "def f():\n\n    a = 1\n    return 2\n")]);
        let shorter = events(&[step(0, "def f():\n"), step(1, "\n    a = 1\n")]);
        assert_eq!(first_divergence(&by_line, &by_line), None);
        let found = first_divergence(&by_line, &whole).expect("they part");
        assert_eq!(found.common, ["def f():", "", "    a = 1"]);
        assert_eq!((found.a.line, found.a.step.map(|step| step.step)), (Some("    return a"), Some(2)));
        assert_eq!((found.b.line, found.b.step.map(|step| step.step)), (Some("    return 2"), Some(0)));
        let found = first_divergence(&shorter, &by_line).expect("they part");
        assert_eq!((found.a.line, found.a.step.map(|step| step.step)), (None, Some(1)));
        assert_eq!(found.b.line, Some("    return a"));
    }
}
