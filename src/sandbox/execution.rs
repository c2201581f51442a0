//! One request on one worker: rounds of a child each, until every test has a verdict.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::plan::{Check, Plan};
use super::protocol::{Answer, Ending, JudgeWork, Judged, Record, Supervision, Work, records};
use super::source::source_lines;
use super::worker::Worker;
use super::{ExecReport, ExecRequest, ExecTest, Judge, ScriptTest, TestOutcome, Trace, Verdict};
use crate::session::trace::Gate;

/// Exit status of a child that had no memory left to say so.
const EXIT_MEMORY: i32 = 77;

/// Most that a child may tell, in bytes: the zygote and the engine hold it.
const CHILD_OUTPUT_LIMIT: usize = 128 << 20;

/// Longest text of a value in a message, in characters; the harness's own are shorter.
const SHOWN_LIMIT: usize = 300;

/// Longest text, in characters, that a report keeps of what a script printed.
const PRINTED_LIMIT: usize = 1000;

/// Longest source, in bytes, that is given to the compiler.
const SOURCE_LIMIT: usize = 1 << 20;

/// What a child may use for one of several items. Even a compiler can blow up: constant folding, nesting.
const ITEM_SECONDS: f64 = 5.0;
const ITEM_MEMORY_MB: u64 = 512;

/// What the child that compiles may use for all its requests. No single one comes near it: each has its deadline.
const COMPILER_CPU_SECONDS: u64 = 3600;

/// Judges assertions about values, where no program has been.
pub(super) type JudgeAll<'a> = &'a dyn Fn(&[JudgeWork<'_>]) -> io::Result<Vec<Judged>>;

/// Runs the tests of a request, each as its plan says. An error means that the worker is in doubt; nothing is known of
/// the program then.
pub(super) fn execute(
    worker: &mut Worker,
    request: &ExecRequest,
    plans: &[Arc<Plan>],
    judge: JudgeAll<'_>,
) -> io::Result<ExecReport> {
    let started = Instant::now();
    let mut run = Run::new(request, plans);
    while run.outcomes.len() < request.tests.len() && !run.finished {
        run.round(worker, judge)?;
    }
    Ok(ExecReport { tests: run.outcomes, output_tail: run.output, seconds: started.elapsed().as_secs_f64() })
}

/// The state of a request between two children.
struct Run<'a> {
    request: &'a ExecRequest,
    /// One a test.
    plans: Vec<Arc<Plan>>,
    /// Lines of the program: a trace cannot speak of others.
    lines: usize,
    /// Time that its children have had.
    used: Duration,
    outcomes: Vec<TestOutcome>,
    output: String,
    /// No further test is to be run.
    finished: bool,
}

impl<'a> Run<'a> {
    fn new(request: &'a ExecRequest, plans: &[Arc<Plan>]) -> Run<'a> {
        let lines = source_lines(&request.code).count();
        Run {
            request,
            plans: plans.to_vec(),
            lines,
            used: Duration::ZERO,
            outcomes: Vec::new(),
            output: String::new(),
            finished: false,
        }
    }

    /// One child: all tests that have no verdict yet, or as many of them as it survives.
    fn round(&mut self, worker: &mut Worker, judge: JudgeAll<'_>) -> io::Result<()> {
        let limits = self.request.limits.clamped();
        let trace = self.request.trace.map(|caps| caps.clamped());
        let left = Duration::from_secs_f64(limits.wall_total_seconds).saturating_sub(self.used);
        if left.is_zero() {
            self.give_all(Verdict::Timeout);
            return Ok(());
        }
        let tests = &self.request.tests[self.outcomes.len()..];
        let plans = &self.plans[self.outcomes.len()..];
        // Text grows at most twelvefold on its way (escapes, names of fields).
        let per_test =
            trace.map_or(0, |caps| 12 * caps.max_total_bytes) + 12 * limits.output_bytes + (64 << 10);
        let answers: usize = plans.iter().map(|plan| plan.answer_bytes()).sum();
        let supervision = Supervision {
            idle: limits.wall_test_seconds,
            total: left.as_secs_f64(),
            cap: per_test
                .saturating_mul(tests.len())
                .saturating_add(answers + (1 << 20))
                .min(CHILD_OUTPUT_LIMIT),
            last_word: String::new(),
        };
        let nonce = worker.nonce()?;
        let work = Work::Run {
            nonce: &nonce,
            memory_mb: limits.memory_mb,
            cpu_seconds: limits.cpu_seconds,
            output_bytes: limits.output_bytes,
            code: &self.request.code,
            setup: &self.request.setup,
            tests: tests.iter().zip(plans).map(|(test, plan)| plan.work(test)).collect(),
            trace,
            keep_going: self.request.keep_going,
        };
        let begun = Instant::now();
        let (ending, body) = worker.exchange(&supervision, &work)?;
        self.used += begun.elapsed();
        let (said, tampered) = records(&body, &nonce);
        let items = self.to_judge(&said);
        let judged = if items.is_empty() { Vec::new() } else { judge(&items)? };
        self.hear(said, tampered, judged, &ending);
        Ok(())
    }

    /// Takes what a child said and how it ended as the outcomes of its tests. `judged` are the judgements that
    /// [`Run::to_judge`] gave.
    fn hear(&mut self, said: Vec<Record>, tampered: bool, judged: Vec<Judged>, ending: &Ending) {
        let limits = self.request.limits.clamped();
        let mut judged = judged.into_iter();
        let mut loading = true;
        for record in said {
            match record {
                Record::Loaded => loading = false,
                Record::Test { verdict, answers, trace, output } => {
                    let plan = self.plan();
                    if plan.is_beyond(&answers) {
                        // The next child judges it, where the value is.
                        let at = self.outcomes.len();
                        self.plans[at] = Arc::new(Plan::Inside);
                        return;
                    }
                    self.keep(&output, limits.output_bytes);
                    let verdict = match (&*plan, self.request.tests.get(self.outcomes.len())) {
                        (Plan::Script, Some(ExecTest::Script(script))) => {
                            printed_right(script, &answers, verdict)
                        }
                        _ => compare(&plan, &answers, verdict, &mut judged),
                    };
                    self.give(verdict, trace);
                    if let (Plan::Script, Some(last)) = (&*plan, self.outcomes.last_mut()) {
                        let text = answers.first().and_then(|answer| answer.value.as_deref());
                        last.printed = text.map(|text| text.chars().take(PRINTED_LIMIT).collect());
                    }
                    loading = true;
                }
                // The harness says this only of a program that does not load.
                Record::Program { verdict, .. } if verdict.passed() => self.give_all(intruded()),
                Record::Program { verdict: Verdict::HarnessError { message }, .. } => {
                    self.give_all(broke(&message));
                }
                Record::Program { verdict, trace, output } => {
                    self.keep(&output, limits.output_bytes);
                    self.give(verdict.clone(), trace);
                    self.give_all(verdict);
                }
                Record::Harness { message } => self.give_all(broke(&message)),
                Record::Gate { .. } | Record::Plan { .. } | Record::Judged { .. } => {}
            }
            if self.outcomes.len() >= self.request.tests.len() || self.finished {
                return;
            }
        }
        // The child ended before this test had a verdict: how it ended is the verdict.
        let verdict = if tampered { intruded() } else { verdict_of(ending, limits.cpu_seconds) };
        if loading {
            // It was the program itself, and would be again with every test.
            self.give_all(verdict);
        } else {
            self.give(verdict, None);
        }
    }

    /// How the next test without an outcome is judged.
    fn plan(&self) -> Arc<Plan> {
        self.plans.get(self.outcomes.len()).cloned().unwrap_or(Arc::new(Plan::Inside))
    }

    /// The assertions about values that are more than a comparison with one, in the order of the tests.
    fn to_judge<'s>(&'s self, said: &'s [Record]) -> Vec<JudgeWork<'s>> {
        let told = said.iter().filter_map(|record| match record {
            Record::Test { answers, .. } => Some(answers),
            _ => None,
        });
        let mut items = Vec::new();
        for (plan, answers) in self.plans[self.outcomes.len()..].iter().zip(told) {
            let Plan::Outside { whole_prelude, asks, .. } = &**plan else { continue };
            for (ask, answer) in asks.iter().zip(answers) {
                if let Check::Holds { expression, .. } = &ask.check {
                    let value = answer.value.as_deref();
                    items.push(JudgeWork { prelude: whole_prelude, expression, value });
                }
            }
        }
        items
    }

    fn give(&mut self, verdict: Verdict, trace: Option<Trace>) {
        if self.outcomes.len() < self.request.tests.len() && !self.finished {
            self.finished = !verdict.passed() && !self.request.keep_going;
            let trace = trace.map(|trace| trace.canonical(self.lines));
            let judge = match *self.plan() {
                Plan::Inside => Judge::Inside,
                Plan::Outside { .. } | Plan::Script | Plan::Broken { .. } => Judge::Outside,
            };
            self.outcomes.push(TestOutcome { verdict: verdict.canonical(), judge, trace, printed: None });
        }
    }

    /// The verdict of all tests that have none yet.
    fn give_all(&mut self, verdict: Verdict) {
        let verdict = verdict.canonical();
        while self.outcomes.len() < self.request.tests.len() && !self.finished {
            self.give(verdict.clone(), None);
        }
    }

    /// Keeps the last `limit` bytes of what was printed.
    fn keep(&mut self, output: &str, limit: usize) {
        self.output.push_str(output);
        if self.output.len() > limit {
            let from = (self.output.len() - limit..).find(|at| self.output.is_char_boundary(*at));
            self.output.drain(..from.unwrap_or(self.output.len()));
        }
    }
}

/// The verdict on a program that said what only the harness says.
fn intruded() -> Verdict {
    Verdict::Forbidden { message: "wrote to the harness's pipe".to_owned() }
}

/// The verdict on a program after which the harness of its process failed: it works with every other.
fn broke(message: &str) -> Verdict {
    Verdict::Forbidden { message: format!("broke the harness of its process: {message}") }
}

/// The verdict on a test in which the process ended.
fn verdict_of(ending: &Ending, cpu_seconds: u64) -> Verdict {
    match (ending.ended.as_str(), ending.signal, ending.exit) {
        ("timeout", ..) => Verdict::Timeout,
        ("flood", ..) => intruded(),
        ("hung up", ..) => Verdict::Forbidden { message: "closed the harness's pipe".to_owned() },
        (_, Some(libc::SIGXCPU), _) => Verdict::Timeout,
        (_, Some(libc::SIGKILL), _) if ending.cpu_ms >= cpu_seconds.saturating_mul(1000) => Verdict::Timeout,
        (_, Some(libc::SIGSYS), _) => Verdict::Forbidden { message: "a forbidden system call".to_owned() },
        (_, Some(signal), _) => Verdict::Killed { signal },
        (_, None, Some(EXIT_MEMORY)) => Verdict::Memory,
        (_, None, code) => Verdict::Forbidden {
            message: format!("ended its process without an answer (exit status {})", code.unwrap_or(-1)),
        },
    }
}

/// The outcomes of a request of which all children ended like the first one, after the same words.
#[cfg(any(test, fuzzing))]
pub(super) fn outcomes(
    request: &ExecRequest,
    plans: &[Arc<Plan>],
    body: &[u8],
    nonce: &str,
    ending: &Ending,
) -> ExecReport {
    let mut run = Run::new(request, plans);
    while run.outcomes.len() < request.tests.len() && !run.finished {
        let (said, tampered) = records(body, nonce);
        run.hear(said, tampered, Vec::new(), ending);
    }
    ExecReport { tests: run.outcomes, output_tail: run.output, seconds: 0.0 }
}

/// The verdict on a test: what its process says, but for what is judged outside of it. `judged` gives the judgements
/// that [`Run::to_judge`] asked for, in the same order.
fn compare(
    plan: &Plan,
    answers: &[Answer],
    said: Verdict,
    judged: &mut impl Iterator<Item = Judged>,
) -> Verdict {
    let asks = match plan {
        Plan::Outside { asks, .. } => asks,
        Plan::Broken { message } => return Verdict::HarnessError { message: message.clone() },
        Plan::Inside | Plan::Script => &Vec::new(),
    };
    let mut found = None;
    for (ask, answer) in asks.iter().zip(answers) {
        let wrong = || {
            Some(Verdict::Failed {
                message: ask.message(&answer.shown.chars().take(SHOWN_LIMIT).collect::<String>()),
            })
        };
        let value = answer.value.as_deref();
        let verdict = match &ask.check {
            Check::Equal { value: expected, .. } if value == Some(expected) => None,
            Check::Truth { value: expected } if value == Some(if *expected { "true" } else { "false" }) => {
                None
            }
            Check::Holds { .. } => match judged.next() {
                Some(Judged { holds: true, .. }) => None,
                Some(Judged { error: Some(error), .. }) if value.is_some() => Some(error),
                _ => wrong(),
            },
            _ => wrong(),
        };
        found = found.or(verdict);
    }
    // Not before all judgements of this test have been taken.
    if let Verdict::HarnessError { message } = &said {
        return broke(message);
    }
    match found {
        Some(verdict) => verdict,
        None if said.passed() && answers.len() != asks.len() => intruded(),
        None => said,
    }
}

/// The verdict on a script: what its process says, and where that is a pass, whether it printed what it should.
fn printed_right(script: &ScriptTest, answers: &[Answer], said: Verdict) -> Verdict {
    match (said, answers) {
        (Verdict::HarnessError { message }, _) => broke(&message),
        (Verdict::Passed, [Answer { value: Some(printed), .. }]) => match script.difference(printed) {
            None => Verdict::Passed,
            Some(message) => Verdict::Failed { message },
        },
        (Verdict::Passed, [Answer { value: None, .. }]) => Verdict::Output,
        (Verdict::Passed, _) => intruded(),
        (said, _) => said,
    }
}

/// Has children do something with each of `items`, some of them in one round trip. Where an item ends its child,
/// `lost` says what it, and maybe some of the items left, get; the rest goes on.
fn each<I, T>(
    worker: &mut Worker,
    items: &[I],
    Children { mut together, kept }: Children,
    work: impl for<'w> Fn(&'w str, u64, &'w [I]) -> Work<'w>,
    pick: impl Fn(Record) -> Option<T>,
    lost: impl Fn(&Ending, usize) -> Vec<T>,
) -> io::Result<Vec<T>> {
    let mut found = Vec::with_capacity(items.len());
    while found.len() < items.len() {
        let start = found.len();
        let rest = &items[start..(start + together).min(items.len())];
        let nonce = worker.nonce()?;
        let total = ITEM_SECONDS * rest.len() as f64;
        let cap = (64 << 10) * rest.len() + (1 << 20);
        let supervision = Supervision { idle: ITEM_SECONDS, total, cap, last_word: String::new() };
        let supervision = if kept { supervision.kept(&nonce) } else { supervision };
        let (ending, body) = worker.exchange(&supervision, &work(&nonce, total as u64 + 1, rest))?;
        let (said, _) = records(&body, &nonce);
        found.extend(said.into_iter().filter_map(&pick).take(rest.len()));
        if kept && found.len() == start && rest.len() > 1 {
            // It had told nothing when it ended, so that nobody knows at which item: one at a time, then.
            together = 1;
        } else if found.len() < start + rest.len() {
            let left = start + rest.len() - found.len();
            found.extend(lost(&ending, left));
        }
    }
    Ok(found)
}

/// How children share items.
struct Children {
    /// Items of one round trip, which one child gets.
    together: usize,
    /// It is a child that lives on.
    kept: bool,
}

/// Asks CPython's compiler about sources; never runs them.
pub(super) fn classify(worker: &mut Worker, sources: &[String]) -> io::Result<Vec<Gate>> {
    let too_long = |source: &String| source.len() > SOURCE_LIMIT;
    let items: Vec<&str> = sources.iter().map(|source| if too_long(source) { "" } else { source }).collect();
    let mut gates = each(
        worker,
        &items,
        Children { together: items.len(), kept: true },
        |nonce, _, sources| Work::Classify {
            nonce,
            memory_mb: ITEM_MEMORY_MB,
            cpu_seconds: COMPILER_CPU_SECONDS,
            sources,
        },
        |record| if let Record::Gate { gate } = record { Some(gate) } else { None },
        |_, _| vec![Gate::Invalid { message: "the compiler ran out of stack, memory or time".to_owned() }],
    )?;
    for (gate, _) in gates.iter_mut().zip(sources).filter(|(_, source)| too_long(source)) {
        *gate = Gate::Invalid { message: format!("longer than {SOURCE_LIMIT} bytes") };
    }
    Ok(gates)
}

/// Judges assertions about values; the worker must be one that runs no programs. After a value that ends the child nothing
/// more is judged: it may be meant to.
pub(super) fn judge(worker: &mut Worker, items: &[JudgeWork<'_>]) -> io::Result<Vec<Judged>> {
    each(
        worker,
        items,
        Children { together: items.len(), kept: false },
        |nonce, cpu_seconds, items| Work::Judge { nonce, memory_mb: ITEM_MEMORY_MB, cpu_seconds, items },
        |record| if let Record::Judged { judged } = record { Some(judged) } else { None },
        |ending, left| {
            (0..left).map(|_| Judged { holds: false, error: Some(verdict_of(ending, u64::MAX)) }).collect()
        },
    )
}

/// Finds out how tests are to be judged, `None` where a test did not let itself be looked at in time; the worker must be one that runs no programs. Runs what they say before their assertions, and what they expect.
pub(super) fn plan(worker: &mut Worker, tests: &[&str]) -> io::Result<Vec<Option<Plan>>> {
    each(
        worker,
        tests,
        // A child each: what one test sets up is not there for the next.
        Children { together: 1, kept: false },
        |nonce, cpu_seconds, tests| Work::Plan { nonce, memory_mb: ITEM_MEMORY_MB, cpu_seconds, tests },
        |record| if let Record::Plan { plan } = record { Some(Some(plan)) } else { None },
        |_, _| vec![None],
    )
}

#[cfg(test)]
mod tests {
    use super::super::plan::Ask;
    use super::*;

    /// A judgement belongs to its assertion, whatever a child says of the tests before.
    #[test]
    fn judgements_do_not_move_to_other_tests() {
        let holds = || Check::Holds { expression: String::new(), shown: String::new(), plain: true };
        let plan = Plan::Outside {
            prelude: String::new(),
            whole_prelude: String::new(),
            asks: vec![Ask { expression: "f()".to_owned(), check: holds(), message: None }],
        };
        let answers = [Answer { shown: "2".to_owned(), value: Some("2".to_owned()) }];
        let mut judged = [true, false].map(|holds| Judged { holds, error: None }).into_iter();
        let said = Verdict::HarnessError { message: "forged".to_owned() };
        assert_eq!(compare(&plan, &answers, said, &mut judged).record().kind, "forbidden");
        assert_eq!(compare(&plan, &answers, Verdict::Passed, &mut judged).record().kind, "failed");
    }

    /// Whatever a child says in the harness's own words: a test that is judged outside passes by its value alone.
    #[test]
    fn only_the_right_value_passes_outside() {
        let equal = Check::Equal { value: "i4".to_owned(), shown: "4".to_owned() };
        let asks = vec![Ask { expression: "f(2)".to_owned(), check: equal, message: None }];
        let plans = [Arc::new(Plan::Outside { prelude: String::new(), whole_prelude: String::new(), asks })];
        let request = ExecRequest { tests: vec!["assert f(2) == 4".into()], ..ExecRequest::default() };
        let ending = Ending { ended: "closed".to_owned(), cpu_ms: 1, exit: Some(0), signal: None };
        let said = |json: &str| {
            let body = format!("n{:08x}{json}", json.len());
            outcomes(&request, &plans, body.as_bytes(), "n", &ending).tests[0].verdict.record().kind
        };
        let answer = |value: &str, verdict: &str| {
            let verdict = format!(r#"{{"verdict":"{verdict}"}}"#);
            said(&format!(
                r#"{{"record":"test","verdict":{verdict},"answers":[{{"shown":"4","value":{value}}}]}}"#
            ))
        };
        assert_eq!(answer(r#""i4""#, "passed"), "passed");
        assert_eq!(answer(r#""i5""#, "passed"), "failed");
        assert_eq!(answer("null", "passed"), "failed");
        assert_eq!(answer(r#""i4""#, "timeout"), "timeout");
        assert_eq!(answer(r#""i5""#, "timeout"), "failed");
        for forged in [
            r#"{"record":"test","verdict":{"verdict":"passed"}}"#,
            r#"{"record":"program","verdict":{"verdict":"passed"}}"#,
            r#"{"record":"program","verdict":{"verdict":"harness_error","message":"x"}}"#,
            r#"{"record":"judged","judged":{"holds":true}}"#,
            r#"{"record":"loaded"}"#,
        ] {
            assert_eq!(said(forged), "forbidden", "{forged}");
        }
    }

    /// The same of a script: only the right text passes, told once, by a program that ended by itself.
    #[test]
    fn only_the_right_text_passes() {
        let script = ScriptTest { stdin: "2".to_owned(), stdout: "4\n".to_owned(), ..Default::default() };
        let tests = vec![ExecTest::Script(script)];
        let request = ExecRequest { tests, keep_going: true, ..ExecRequest::default() };
        let ending = Ending { ended: "closed".to_owned(), cpu_ms: 1, exit: Some(0), signal: None };
        let said = |verdict: &str, answers: &str| {
            let json =
                format!(r#"{{"record":"test","verdict":{{"verdict":"{verdict}"}},"answers":[{answers}]}}"#);
            let body = format!("n{:08x}{json}", json.len());
            let report = outcomes(&request, &[Arc::new(Plan::Script)], body.as_bytes(), "n", &ending);
            assert_eq!(report.tests[0].judge, Judge::Outside);
            report.tests[0].verdict.record().kind
        };
        let right = r#"{"shown":"","value":"4"}"#;
        assert_eq!(said("passed", right), "passed");
        assert_eq!(said("timeout", right), "timeout");
        assert_eq!(said("passed", r#"{"shown":"4","value":"5"}"#), "failed");
        assert_eq!(said("passed", r#"{"shown":"4","value":null}"#), "output");
        assert_eq!(said("passed", ""), "forbidden");
        assert_eq!(said("passed", &format!("{right},{right}")), "forbidden");
        assert_eq!(said(r#"harness_error","message":"x"#, right), "forbidden");
    }

    #[test]
    fn an_ending_without_an_answer_is_never_a_pass() {
        let ending = |ended: &str, signal, exit, cpu_ms| Ending { ended: ended.into(), cpu_ms, exit, signal };
        for (ending, kind) in [
            (ending("closed", None, Some(0), 1), "forbidden"),
            (ending("closed", None, Some(77), 1), "memory"),
            (ending("closed", Some(11), None, 1), "killed"),
            (ending("closed", Some(9), None, 2000), "timeout"),
            (ending("closed", Some(9), None, 1999), "killed"),
            (ending("timeout", Some(9), None, 1), "timeout"),
            (ending("flood", Some(9), None, 1), "forbidden"),
            (ending("hung up", Some(9), None, 1), "forbidden"),
        ] {
            assert_eq!(verdict_of(&ending, 2).record().kind, kind, "{ending:?}");
        }
    }
}
