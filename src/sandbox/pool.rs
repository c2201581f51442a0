//! Several workers, used from any number of threads.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use super::execution;
use super::plan::Plans;
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
}

impl Default for PoolConfig {
    /// `python3`, this executable, half of the processors, best effort.
    fn default() -> Self {
        PoolConfig {
            python: PathBuf::from("python3"),
            launcher: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("vigor")),
            workers: thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)),
            policy: Policy::default(),
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
    /// One entry for each worker that is not in use; `None` is one that has not been started.
    idle: Mutex<Vec<Option<Worker>>>,
    returned: Condvar,
}

/// The right to use one worker; gives it back when dropped, even while unwinding.
struct Lease<'a> {
    pool: &'a Pool,
    worker: Option<Worker>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let worker = self.worker.take().filter(|worker| worker.executions < RECYCLE_AFTER);
        self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
        self.pool.returned.notify_one();
    }
}

impl Pool {
    /// Finds Python and starts the first worker; the others start when they are first needed.
    ///
    /// # Errors
    /// [`SandboxError`] when there is no usable Python, the launcher cannot be started, or the policy is strict
    /// and the kernel offers too little.
    pub fn new(config: PoolConfig) -> Result<Pool, SandboxError> {
        let python = Python::resolve(&config.python)?;
        let recipe = Recipe::new(config.launcher, python, config.policy);
        let first = Worker::start(&recipe)?;
        let layers = first.layers.clone();
        let size = config.workers.max(1);
        // The last entry is taken first.
        let mut idle: Vec<Option<Worker>> = (1..size).map(|_| None).collect();
        idle.push(Some(first));
        Ok(Pool {
            recipe,
            layers,
            plans: Plans::default(),
            size,
            idle: Mutex::new(idle),
            returned: Condvar::new(),
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
            .of(&request.tests, |tests| self.with_worker(|worker| execution::plan(worker, tests)))
            .and_then(|plans| self.with_worker(|worker| execution::execute(worker, request, &plans)));
        match report {
            Err(SandboxError::Lost(message)) => {
                let verdict = Verdict::HarnessError { message: format!("the worker was lost: {message}") };
                let outcome = TestOutcome { verdict, judge: Judge::Outside, trace: None };
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
        self.with_worker(|worker| execution::classify(worker, sources))
    }

    /// Does `job` on a free worker; once more, on a fresh one, where the first was lost.
    fn with_worker<T>(&self, mut job: impl FnMut(&mut Worker) -> io::Result<T>) -> Result<T, SandboxError> {
        let mut lease = self.lease();
        let mut lost = None;
        for _ in 0..2 {
            let mut worker = match lease.worker.take() {
                Some(worker) => worker,
                None => Worker::start(&self.recipe)?,
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
                return Lease { pool: self, worker };
            }
            idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Starts one worker, asks what holds around it, and ends it.
///
/// # Errors
/// As [`Pool::new`].
pub fn effective(python: &Path, launcher: &Path, policy: Policy) -> Result<Vec<Layer>, SandboxError> {
    let recipe = Recipe::new(launcher.to_owned(), Python::resolve(python)?, policy);
    Ok(Worker::start(&recipe)?.layers.clone())
}
