//! Replay: derives every decision of a session again from its trace alone, without the model, and says where
//! the result differs from what was recorded.

use super::commit;
use super::method::MethodConfig;
use super::trace::{Alternative, Event, SCHEMA_VERSION, Source, Step};
use crate::engine::Guidance;

/// A decision that the evidence does not lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The step, `None` for the session as a whole.
    pub step: Option<usize>,
    /// What was recorded and what follows from the evidence.
    pub what: String,
}

/// What a replay found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Decisions derived again.
    pub decisions: usize,
    /// Those that differ.
    pub differences: Vec<Difference>,
}

/// Replays the events of one session.
pub fn replay(events: &[Event]) -> Replayed {
    let mut replayed = Replayed::default();
    let whole = |what: String| Difference { step: None, what };
    let Some(Event::Start(start)) = events.first() else {
        replayed.differences.push(whole("the trace has no start".into()));
        return replayed;
    };
    if start.schema > SCHEMA_VERSION {
        let what =
            format!("the trace has schema {}, this version reads up to {SCHEMA_VERSION}", start.schema);
        replayed.differences.push(whole(what));
        return replayed;
    }
    let method: Option<MethodConfig> =
        start.policy.get("method").and_then(|m| serde_json::from_value(m.clone()).ok());
    let Some(method) = method else {
        replayed.differences.push(whole("the start does not say which method ran".into()));
        return replayed;
    };
    let mut text = String::new();
    let mut expected = 0;
    let mut signal = None;
    for event in &events[1..] {
        match event {
            Event::Step(step) => {
                replayed.decisions += 1;
                if step.step != expected {
                    let what = format!("step {expected} is missing");
                    replayed.differences.push(Difference { step: Some(step.step), what });
                }
                expected = step.step.saturating_add(1);
                let found = [check(&method, step), check_refresh(&method, step, &mut signal)];
                for what in found.into_iter().flatten() {
                    replayed.differences.push(Difference { step: Some(step.step), what });
                }
                text.push_str(&step.decision.text);
            }
            Event::End(end) => {
                if !end.program.ends_with(&text) {
                    replayed.differences.push(whole("the program is not what the steps committed".into()));
                }
                return replayed;
            }
            Event::Start(_) => replayed.differences.push(whole("a second start".into())),
        }
    }
    replayed.differences.push(whole("the trace has no end".into()));
    replayed
}

/// Derives one decision again; the difference, if there is one.
fn check(method: &MethodConfig, step: &Step) -> Option<String> {
    let decision = &step.decision;
    match decision.source {
        Source::Candidate { index } => {
            let choice = commit::choose(method, &step.candidates);
            match choice {
                None => Some(format!("candidate {index} was committed; no candidate is viable")),
                Some(choice) if choice.index != index => Some(format!(
                    "candidate {index} was committed; the evidence leads to {} ({})",
                    choice.index, choice.reason
                )),
                Some(_) => {
                    let line = step.candidates.iter().find(|c| c.index == index).map(|c| &c.line);
                    (!decision.text.is_empty() && line != Some(&decision.text))
                        .then(|| format!("the committed text is not the line of candidate {index}"))
                }
            }
        }
        Source::Nothing
            if !step.candidates.is_empty()
                && step.tokens.is_empty()
                && !matches!(method, MethodConfig::EgCfg(_)) =>
        {
            commit::choose(method, &step.candidates).map(|choice| {
                format!("nothing was committed; the evidence leads to candidate {}", choice.index)
            })
        }
        Source::Nothing => None,
        Source::Greedy => check_tokens(step, Guidance { gamma: 0.0, epsilon: 0.0 }),
        Source::Guided => match method {
            // A sampled line depends on noise over the whole vocabulary; what is recorded is its leading part.
            MethodConfig::EgCfg(config) if config.sample_line => ids_match(step),
            MethodConfig::EgCfg(config) => check_tokens(step, config.guidance()),
            _ => Some("a guided line in a method that does not guide".into()),
        },
    }
}

/// A signal must last as many lines as the method says: it is made from candidates, then kept as it is. `last` is the
/// step that made the last one, and its text.
fn check_refresh<'a>(
    method: &MethodConfig,
    step: &'a Step,
    last: &mut Option<(usize, &'a str)>,
) -> Option<String> {
    let (MethodConfig::EgCfg(config), Some(signal)) = (method, &step.signal) else { return None };
    let fresh = last.filter(|(made, _)| step.step.saturating_sub(*made) < config.refresh_lines);
    match fresh {
        _ if !step.candidates.is_empty() => {
            *last = Some((step.step, &signal.text));
            fresh.map(|(made, _)| {
                format!("the signal was made anew; that of step {made} lasts {} lines", config.refresh_lines)
            })
        }
        None => Some("the signal comes from no candidate".to_owned()),
        Some((made, text)) => (text != signal.text)
            .then(|| format!("the signal is not that of step {made}, which was to be kept")),
    }
}

/// Every token must be the best of its recorded alternatives, and the tokens those of the decision.
fn check_tokens(step: &Step, guidance: Guidance) -> Option<String> {
    let weight = |a: &Alternative| a.q.map_or(a.p, |q| guidance.entry(a.p, q));
    for (i, token) in step.tokens.iter().enumerate() {
        let best = token.top.iter().max_by(|a, b| weight(a).total_cmp(&weight(b)).then(b.id.cmp(&a.id)));
        match best {
            Some(best) if best.id == token.id => {}
            Some(best) => {
                return Some(format!("token {i} is {}; the evidence leads to {}", token.id, best.id));
            }
            None => return Some(format!("token {i} has no recorded alternatives")),
        }
    }
    ids_match(step)
}

fn ids_match(step: &Step) -> Option<String> {
    let same = step.tokens.iter().map(|t| t.id).eq(step.decision.tokens.iter().copied());
    (!same).then(|| "the committed tokens are not the decoded ones".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::method::VigorConfig;

    /// Found by fuzzing: a file can name any number.
    #[test]
    fn a_candidate_is_found_by_its_number_not_its_place() {
        let step = |committed: &str| -> Step {
            serde_json::from_value(serde_json::json!({
                "step": 0,
                "candidates": [{
                    "index": 7, "text": "x = 1\n", "line": "x = 1\n", "line_tokens": [1], "tokens": 1,
                    "logprob": -1.0, "line_logprob": -1.0, "ended": "horizon", "class": "executable",
                    "gate": {"verdict": "complete"}
                }],
                "decision": {
                    "source": {"from": "candidate", "index": 7}, "text": committed, "tokens": [1], "reason": ""
                }
            }))
            .expect("a step")
        };
        let method = MethodConfig::Vigor(VigorConfig::default());
        assert_eq!(check(&method, &step("x = 1\n")), None);
        assert!(check(&method, &step("x = 2\n")).is_some_and(|what| what.contains("candidate 7")));
    }
}
