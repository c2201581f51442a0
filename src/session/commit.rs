//! The commit role: chooses one candidate, as a pure function of the recorded evidence.
//!
//! Nothing but the evidence enters, so [`super::replay`] derives every choice again from the trace alone.

use std::cmp::Ordering;

use super::method::MethodConfig;
use super::trace::{Candidate, Gate, LineClass};

/// A choice among candidates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The sample index of the chosen one.
    pub index: usize,
    /// One sentence for the reader.
    pub reason: String,
}

/// Chooses a candidate; `None` when none is viable.
///
/// `sample`: the first candidate that passes all guiding tests, else the one with the highest mean
/// log-probability. `vigor`: by guiding tests passed, then by how badly the others went (a wrong value before
/// an exception before a candidate that had to be stopped), then by mean log-probability, then by index.
pub fn choose(method: &MethodConfig, candidates: &[Candidate]) -> Option<Choice> {
    let viable: Vec<&Candidate> = candidates.iter().filter(|c| is_viable(c)).collect();
    if let MethodConfig::Sample(_) = method {
        if let Some(first) = viable.iter().find(|c| passes_all(c)) {
            let reason = "first program that passes all guiding tests".to_owned();
            return Some(Choice { index: first.index, reason });
        }
        // A program that does not even parse is chosen only when no other is left: best of n has no gate.
        let pool = if viable.is_empty() { candidates.iter().collect() } else { viable };
        let best = pool.into_iter().max_by(|a, b| by_logprob(a, b))?;
        let reason = "no program passes all guiding tests: highest mean log-probability".to_owned();
        return Some(Choice { index: best.index, reason });
    }
    let best = viable.iter().copied().max_by(|a, b| {
        let tests = passed(a).cmp(&passed(b));
        tests.then(severity(b).cmp(&severity(a))).then_with(|| by_logprob(a, b))
    })?;
    Some(Choice { index: best.index, reason: explain(best, &viable) })
}

/// Whether the parser lets a candidate through.
pub fn is_viable(candidate: &Candidate) -> bool {
    !matches!(candidate.gate, Gate::Invalid { .. }) && candidate.class != LineClass::Invalid
}

/// Mean log-probability of a candidate's tokens.
pub fn mean_logprob(candidate: &Candidate) -> f64 {
    candidate.logprob / candidate.tokens.max(1) as f64
}

/// The likelier candidate is greater; among equals the one with the lower index.
fn by_logprob(a: &Candidate, b: &Candidate) -> Ordering {
    mean_logprob(a).total_cmp(&mean_logprob(b)).then(b.index.cmp(&a.index))
}

fn passed(candidate: &Candidate) -> usize {
    candidate.execution.as_ref().map_or(0, |e| e.passed)
}

/// Whether a candidate ran and passed all guiding tests, of which there are some.
pub fn passes_all(candidate: &Candidate) -> bool {
    candidate.execution.as_ref().is_some_and(|e| !e.tests.is_empty() && e.passed == e.tests.len())
}

/// How badly the worst test went: 0 passed, 1 a wrong value, 2 an exception, 3 it had to be stopped.
fn severity(candidate: &Candidate) -> u8 {
    let Some(execution) = &candidate.execution else { return 0 };
    let of = |kind: &str| match kind {
        "passed" => 0,
        "failed" => 1,
        "exception" | "syntax_error" => 2,
        _ => 3,
    };
    execution.tests.iter().map(|t| of(&t.kind)).max().unwrap_or(0)
}

fn explain(best: &Candidate, viable: &[&Candidate]) -> String {
    let others = viable.iter().filter(|c| c.index != best.index);
    let total = best.execution.as_ref().map_or(0, |e| e.tests.len());
    if others.clone().all(|c| passed(c) < passed(best)) && total > 0 && viable.len() > 1 {
        format!("passes {} of {total} guiding tests, more than any other", passed(best))
    } else if others.clone().any(|c| passed(c) == passed(best) && severity(c) > severity(best))
        && others.clone().all(|c| passed(c) < passed(best) || severity(c) >= severity(best))
    {
        format!(
            "{} of {total} guiding tests pass and it fails least; highest mean log-probability among these",
            passed(best)
        )
    } else {
        format!("{} of {total} guiding tests pass; highest mean log-probability", passed(best))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::method::{SampleConfig, VigorConfig};
    use crate::session::trace::{Execution, TestVerdict};

    fn candidate(index: usize, logprob: f64, kinds: &[&str]) -> Candidate {
        let tests: Vec<TestVerdict> =
            kinds.iter().map(|k| TestVerdict { kind: (*k).into(), message: String::new() }).collect();
        Candidate {
            index,
            text: String::new(),
            line: String::new(),
            line_tokens: Vec::new(),
            tokens: 1,
            logprob,
            line_logprob: logprob,
            ended: "horizon".into(),
            class: LineClass::Executable,
            gate: Gate::Complete,
            duplicate_of: None,
            execution: Some(Execution {
                program: String::new(),
                passed: kinds.iter().filter(|k| **k == "passed").count(),
                tests,
            }),
        }
    }

    #[test]
    fn vigor_ranks_tests_then_severity_then_probability_then_index() {
        let vigor = MethodConfig::Vigor(VigorConfig::default());
        let pick = |candidates: &[Candidate]| choose(&vigor, candidates).map(|c| c.index);
        let tests = [candidate(0, -0.1, &["failed", "failed"]), candidate(1, -9.0, &["passed", "timeout"])];
        assert_eq!(pick(&tests), Some(1));
        let severity = [candidate(0, -0.1, &["exception"]), candidate(1, -9.0, &["failed"])];
        assert_eq!(pick(&severity), Some(1));
        let probability = [candidate(0, -2.0, &["failed"]), candidate(1, -1.0, &["failed"])];
        assert_eq!(pick(&probability), Some(1));
        let index = [candidate(0, -1.0, &["failed"]), candidate(1, -1.0, &["failed"])];
        assert_eq!(pick(&index), Some(0));
    }

    #[test]
    fn invalid_candidates_are_never_chosen() {
        let vigor = MethodConfig::Vigor(VigorConfig::default());
        let mut invalid = candidate(0, -0.1, &["passed"]);
        invalid.gate = Gate::Invalid { message: "invalid syntax".into() };
        assert_eq!(
            choose(&vigor, &[invalid.clone(), candidate(1, -9.0, &["timeout"])]).map(|c| c.index),
            Some(1)
        );
        assert_eq!(choose(&vigor, &[invalid]), None);
    }

    #[test]
    fn sample_takes_the_first_that_passes() {
        let sample = MethodConfig::Sample(SampleConfig::default());
        let pick = |candidates: &[Candidate]| choose(&sample, candidates).map(|c| c.index);
        let all = [
            candidate(0, -0.1, &["failed"]),
            candidate(1, -5.0, &["passed"]),
            candidate(2, -1.0, &["passed"]),
        ];
        assert_eq!(pick(&all), Some(1));
        let none = [candidate(0, -3.0, &["failed"]), candidate(1, -0.2, &["exception"])];
        assert_eq!(pick(&none), Some(1));
    }
}
