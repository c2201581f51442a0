//! Several workers, used from any number of threads.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use super::execution;
use super::plan::Plans;
use super::protocol::JudgeWork;
use super::worker::{Recipe, Worker};
use super::{ExecReport, ExecRequest, Judge, Layer, Policy, Python, SandboxError, TestOutcome, Verdict};
use crate::session::trace::Gate;

/// A worker is replaced after so many requests: what its allocator has gathered goes with it.
const RECYCLE_AFTER: usize = 2000;

/// How a [`Pool`] is made.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// The interpreter: a path, or a name to look up in `PATH`.
    pub python: PathBuf,
    /// The executable that dispatches [`launcher_main`](super::launcher_main).
    pub launcher: PathBuf,
    /// Number of programs that run at the same time.
    pub workers: usize,
    /// How much of the sandbox must hold.
    pub policy: Policy,
    /// MiB of a folder, empty at the start of each program, in which it may write files; none: it can write
    /// nowhere.
    pub scratch_mb: Option<u64>,
    /// Modules that are imported once in each worker, so that programs have them for nothing. With any, the
    /// packages of the interpreter (or of the virtual environment that `python` lies in) can be imported; without,
    /// only the standard library can.
    pub preload: Vec<String>,
    /// For tests: names of layers to leave out.
    pub without: Vec<String>,
}

impl Default for PoolConfig {
    /// `python3`, this executable, one worker a processor, strict, neither files nor packages.
    ///
    /// The engine computes on the same processors, but a session waits for its programs, so the two rarely want
    /// all of them at once; and a worker that no request has needed is not started.
    fn default() -> Self {
        PoolConfig {
            python: PathBuf::from("python3"),
            launcher: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("vigor")),
            workers: thread::available_parallelism().map_or(1, usize::from),
            policy: Policy::default(),
            scratch_mb: None,
            preload: Vec::new(),
            without: Vec::new(),
        }
    }
}

/// Workers that run programs. It can be shared by threads: a request waits for a worker that is free.
///
/// A worker that dies, stops answering or is otherwise in doubt is killed with all its processes and replaced;
/// no request sees what an earlier one left.
#[derive(Debug)]
pub struct Pool {
    recipe: Recipe,
    layers: Vec<Layer>,
    plans: Plans,
    size: usize,
    programs: Workers,
    /// Those that never see a program. They learn what tests expect, and a child inherits all that its worker has read.
    judges: Workers,
}

/// Workers of one kind, lent to one user each.
#[derive(Debug)]
struct Workers {
    /// One entry for each worker that is not in use; `None` is one that has not been started.
    idle: Mutex<Vec<Option<Worker>>>,
    returned: Condvar,
}

impl Workers {
    /// `count` workers, of which `first` has been started.
    fn new(count: usize, first: Option<Worker>) -> Workers {
        // The last entry is taken first.
        let mut idle: Vec<Option<Worker>> = (1..count).map(|_| None).collect();
        idle.push(first);
        Workers { idle: Mutex::new(idle), returned: Condvar::new() }
    }

    /// Does `job` on a free worker; once more, on a fresh one, where the first was lost.
    fn lend<T>(
        &self,
        recipe: &Recipe,
        mut job: impl FnMut(&mut Worker) -> io::Result<T>,
    ) -> Result<T, SandboxError> {
        let mut lease = self.lease();
        let mut lost = None;
        for _ in 0..2 {
            let mut worker = match lease.worker.take() {
                Some(worker) => worker,
                None => Worker::start(recipe)?,
            };
            match job(&mut worker) {
                Ok(value) => {
                    lease.worker = Some(worker);
                    return Ok(value);
                }
                // The worker is dropped here, which ends its processes.
                Err(error) => lost = Some(error.to_string()),
            }
        }
        Err(SandboxError::Lost(lost.unwrap_or_default()))
    }

    fn lease(&self) -> Lease<'_> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(worker) = idle.pop() {
                return Lease { of: self, worker };
            }
            idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The right to use one worker; gives it back when dropped, even while unwinding.
struct Lease<'a> {
    of: &'a Workers,
    worker: Option<Worker>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let worker = self.worker.take().filter(|worker| worker.executions < RECYCLE_AFTER);
        self.of.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
        self.of.returned.notify_one();
    }
}

impl Pool {
    /// Finds Python and starts the first worker; the others start when they are first needed.
    ///
    /// # Errors
    /// [`SandboxError`] when there is no usable Python, the launcher cannot be started, or the policy is strict
    /// and the kernel offers too little.
    pub fn new(config: PoolConfig) -> Result<Pool, SandboxError> {
        let size = config.workers.max(1);
        let recipe = Recipe::new(config)?;
        let first = Worker::start(&recipe)?;
        let layers = first.layers.clone();
        Ok(Pool {
            recipe,
            layers,
            plans: Plans::default(),
            size,
            programs: Workers::new(size, Some(first)),
            judges: Workers::new(size.min(4), None),
        })
    }

    /// The layers, in force or not, around every program that this pool runs.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The interpreter that runs the programs.
    pub fn python(&self) -> &Python {
        &self.recipe.python
    }

    /// Number of programs that can run at the same time.
    pub fn workers(&self) -> usize {
        self.size
    }

    /// Runs a program on its tests. Whatever the program does, there is a report; equal requests give equal
    /// reports, but for [`ExecReport::seconds`] and for programs that look at the time.
    ///
    /// # Errors
    /// [`SandboxError`] when a worker cannot be started. A request that costs two workers their life is
    /// reported as [`Verdict::HarnessError`], not as an error.
    pub fn execute(&self, request: &ExecRequest) -> Result<ExecReport, SandboxError> {
        let report = self
            .plans
            .of(&request.tests, |tests| {
                self.judges.lend(&self.recipe, |worker| execution::plan(worker, tests))
            })
            .and_then(|plans| {
                let judge = |items: &[JudgeWork<'_>]| {
                    self.judges
                        .lend(&self.recipe, |worker| execution::judge(worker, items))
                        .map_err(io::Error::other)
                };
                self.programs.lend(&self.recipe, |worker| execution::execute(worker, request, &plans, &judge))
            });
        match report {
            Err(SandboxError::Lost(message)) => {
                let verdict = Verdict::HarnessError { message: format!("the worker was lost: {message}") };
                let outcome = TestOutcome { verdict, judge: Judge::Outside, trace: None, printed: None };
                let tests = vec![outcome; request.tests.len()];
                Ok(ExecReport { tests, output_tail: String::new(), seconds: 0.0 })
            }
            result => result,
        }
    }

    /// Runs several programs, as many at a time as there are workers. Reports are in the order of the requests.
    ///
    /// # Errors
    /// As [`Pool::execute`].
    pub fn execute_all(&self, requests: &[ExecRequest]) -> Result<Vec<ExecReport>, SandboxError> {
        let threads = self.size.min(requests.len());
        if threads <= 1 {
            return requests.iter().map(|request| self.execute(request)).collect();
        }
        let next = AtomicUsize::new(0);
        let reports: Vec<Mutex<Option<Result<ExecReport, SandboxError>>>> =
            requests.iter().map(|_| Mutex::new(None)).collect();
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(at) =
                        Some(next.fetch_add(1, Ordering::Relaxed)).filter(|at| *at < requests.len())
                    {
                        let report = self.execute(&requests[at]);
                        *reports[at].lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
                    }
                });
            }
        });
        let missing = || Err(SandboxError::Lost("no report".to_owned()));
        reports
            .into_iter()
            .map(|cell| cell.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(missing))
            .collect()
    }

    /// CPython's own verdict on each source, in one round trip: complete, not finished yet, or beyond repair.
    /// Nothing is run. A last line without its newline is taken as a whole line.
    ///
    /// # Errors
    /// [`SandboxError`] when a worker cannot be started, or two were lost.
    pub fn classify(&self, sources: &[String]) -> Result<Vec<Gate>, SandboxError> {
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        self.programs.lend(&self.recipe, |worker| execution::classify(worker, sources))
    }
}

/// Starts one worker, asks what holds around it, and ends it.
///
/// # Errors
/// As [`Pool::new`].
pub fn effective(config: PoolConfig) -> Result<Vec<Layer>, SandboxError> {
    Ok(Worker::start(&Recipe::new(config)?)?.layers.clone())
}
