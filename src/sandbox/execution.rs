//! One request on one worker: rounds of a child each, until every test has a verdict.

use std::io;
use std::time::{Duration, Instant};

use super::protocol::{Ending, Record, Supervision, Work, records};
use super::source::source_lines;
use super::worker::Worker;
use super::{ExecReport, ExecRequest, TestOutcome, Trace, Verdict};
use crate::session::trace::Gate;

/// Exit status of a child that had no memory left to say so.
const EXIT_MEMORY: i32 = 77;

/// Longest source, in bytes, that is given to the compiler.
const SOURCE_LIMIT: usize = 1 << 20;

/// What a compiler may use for one source. Constant folding and nesting can blow up.
const CLASSIFY_SECONDS: f64 = 5.0;
const CLASSIFY_MEMORY_MB: u64 = 512;

/// Runs the tests of a request. An error means that the worker is in doubt; nothing is known of the program then.
pub(super) fn execute(worker: &mut Worker, request: &ExecRequest) -> io::Result<ExecReport> {
    let started = Instant::now();
    let mut run = Run::new(request);
    while run.outcomes.len() < request.tests.len() && !run.finished {
        run.round(worker, started)?;
    }
    Ok(ExecReport { tests: run.outcomes, output_tail: run.output, seconds: started.elapsed().as_secs_f64() })
}

/// The state of a request between two children.
struct Run<'a> {
    request: &'a ExecRequest,
    /// Lines of the program: a trace cannot speak of others.
    lines: usize,
    outcomes: Vec<TestOutcome>,
    output: String,
    /// No further test is to be run.
    finished: bool,
}

impl<'a> Run<'a> {
    fn new(request: &'a ExecRequest) -> Run<'a> {
        let lines = source_lines(&request.code).count();
        Run { request, lines, outcomes: Vec::new(), output: String::new(), finished: false }
    }

    /// One child: all tests that have no verdict yet, or as many of them as it survives.
    fn round(&mut self, worker: &mut Worker, started: Instant) -> io::Result<()> {
        let limits = self.request.limits.clamped();
        let trace = self.request.trace.map(|caps| caps.clamped());
        let left = Duration::from_secs_f64(limits.wall_total_seconds).saturating_sub(started.elapsed());
        if left.is_zero() {
            self.give_all(Verdict::Timeout);
            return Ok(());
        }
        let tests = &self.request.tests[self.outcomes.len()..];
        // Text grows at most twelvefold on its way (escapes, names of fields).
        let per_test =
            trace.map_or(0, |caps| 12 * caps.max_total_bytes) + 12 * limits.output_bytes + (64 << 10);
        let supervision = Supervision {
            idle: limits.wall_test_seconds,
            total: left.as_secs_f64(),
            cap: (per_test.saturating_mul(tests.len()) + (1 << 20)).min(1 << 30),
        };
        let nonce = worker.nonce()?;
        let work = Work::Run {
            nonce: &nonce,
            memory_mb: limits.memory_mb,
            cpu_seconds: limits.cpu_seconds,
            output_bytes: limits.output_bytes,
            code: &self.request.code,
            setup: &self.request.setup,
            tests,
            trace,
            keep_going: self.request.keep_going,
        };
        let (ending, body) = worker.exchange(&supervision, &work)?;
        let (said, tampered) = records(&body, &nonce);
        let mut loading = true;
        for record in said {
            match record {
                Record::Loaded => loading = false,
                Record::Test { verdict, trace, output } => {
                    self.hear(&output, limits.output_bytes);
                    self.give(verdict, trace);
                    loading = true;
                }
                Record::Program { verdict, trace, output } => {
                    self.hear(&output, limits.output_bytes);
                    self.give(verdict.clone(), trace);
                    self.give_all(verdict);
                }
                Record::Harness { message } => {
                    self.give_all(Verdict::HarnessError { message });
                }
                Record::Gate { .. } => {}
            }
            if self.outcomes.len() >= self.request.tests.len() || self.finished {
                return Ok(());
            }
        }
        // The child ended before this test had a verdict: how it ended is the verdict.
        let verdict = if tampered {
            Verdict::Forbidden { message: "wrote to the harness's pipe".to_owned() }
        } else {
            verdict_of(&ending, limits.cpu_seconds)
        };
        if loading {
            // It was the program itself, and would be again with every test.
            self.give_all(verdict);
        } else {
            self.give(verdict, None);
        }
        Ok(())
    }

    fn give(&mut self, verdict: Verdict, trace: Option<Trace>) {
        if self.outcomes.len() < self.request.tests.len() && !self.finished {
            self.finished = !verdict.passed() && !self.request.keep_going;
            let trace = trace.map(|trace| trace.canonical(self.lines));
            self.outcomes.push(TestOutcome { verdict: verdict.canonical(), trace });
        }
    }

    /// The verdict of all tests that have none yet.
    fn give_all(&mut self, verdict: Verdict) {
        let verdict = verdict.canonical();
        while self.outcomes.len() < self.request.tests.len() && !self.finished {
            self.give(verdict.clone(), None);
        }
    }

    fn hear(&mut self, output: &str, limit: usize) {
        self.output.push_str(output);
        if self.output.len() > limit {
            let from = (self.output.len() - limit..).find(|at| self.output.is_char_boundary(*at));
            self.output.drain(..from.unwrap_or(self.output.len()));
        }
    }
}

/// The verdict on a test in which the process ended.
fn verdict_of(ending: &Ending, cpu_seconds: u64) -> Verdict {
    match (ending.ended.as_str(), ending.signal, ending.exit) {
        ("timeout", ..) => Verdict::Timeout,
        ("flood", ..) => Verdict::Forbidden { message: "wrote to the harness's pipe".to_owned() },
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

/// Asks CPython's compiler about sources; never runs them.
pub(super) fn classify(worker: &mut Worker, sources: &[String]) -> io::Result<Vec<Gate>> {
    let mut gates: Vec<Gate> = Vec::with_capacity(sources.len());
    while gates.len() < sources.len() {
        let start = gates.len();
        let batch: Vec<&str> = sources[start..]
            .iter()
            .map(String::as_str)
            .take_while(|source| source.len() <= SOURCE_LIMIT)
            .collect();
        if batch.is_empty() {
            let message = format!("longer than {SOURCE_LIMIT} bytes");
            gates.push(Gate::Invalid { message });
            continue;
        }
        let nonce = worker.nonce()?;
        let total = CLASSIFY_SECONDS * batch.len() as f64;
        let supervision = Supervision { idle: CLASSIFY_SECONDS, total, cap: 4096 * batch.len() + (1 << 20) };
        let work = Work::Classify {
            nonce: &nonce,
            memory_mb: CLASSIFY_MEMORY_MB,
            cpu_seconds: total as u64 + 1,
            sources: &batch,
        };
        let (_, body) = worker.exchange(&supervision, &work)?;
        let (said, _) = records(&body, &nonce);
        gates.extend(said.into_iter().take(batch.len()).filter_map(|record| match record {
            Record::Gate { gate } => Some(gate),
            _ => None,
        }));
        if gates.len() < start + batch.len() {
            // The compiler did not survive the next one.
            let message = "the compiler ran out of stack, memory or time".to_owned();
            gates.push(Gate::Invalid { message });
        }
    }
    Ok(gates)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            assert_eq!(verdict_of(&ending, 2).record().kind, kind, "{ending:?}");
        }
    }
}
