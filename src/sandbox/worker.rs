//! One worker: a launcher that became a zygote, and the socket to it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::launcher::LAUNCHER_COMMAND;
use super::protocol::{Ending, Init, Launched, Ready, Supervision, Work, read_frame, read_json, write_frame};
use super::{Capability, Layer, Policy, Python, SandboxError, seccomp};

/// The Python side, in the order in which its parts need each other.
const HARNESS: &str = concat!(
    include_str!("harness/values.py"),
    include_str!("harness/tracer.py"),
    include_str!("harness/hooks.py"),
    include_str!("harness/runner.py"),
    include_str!("harness/zygote.py"),
);

/// How long a worker may take to come up, and to answer beyond the time that its program has.
const START_SECONDS: u64 = 60;
const GRACE_SECONDS: f64 = 10.0;

/// What every worker of a pool is started from.
#[derive(Debug)]
pub(super) struct Recipe {
    pub launcher: PathBuf,
    pub python: Python,
    pub policy: Policy,
    /// The second filter, see [`seccomp::child_filter_hex`].
    pub child_filter: String,
}

impl Recipe {
    pub fn new(launcher: PathBuf, python: Python, policy: Policy) -> Recipe {
        let child_filter = if policy == Policy::Off { String::new() } else { seccomp::child_filter_hex() };
        Recipe { launcher, python, policy, child_filter }
    }
}

/// A running zygote. Dropping it ends every process of it.
#[derive(Debug)]
pub(super) struct Worker {
    process: Child,
    stream: UnixStream,
    randomness: File,
    /// What holds for programs in this worker.
    pub layers: Vec<Layer>,
    /// Requests answered.
    pub executions: usize,
}

impl Worker {
    /// Starts a worker and waits until it is ready.
    pub fn start(recipe: &Recipe) -> Result<Worker, SandboxError> {
        let fail = |reason: String| SandboxError::Launcher { launcher: recipe.launcher.clone(), reason };
        let (stream, theirs) = UnixStream::pair().map_err(|error| fail(error.to_string()))?;
        let randomness =
            File::open("/dev/urandom").map_err(|error| fail(format!("/dev/urandom: {error}")))?;
        let mut command = Command::new(&recipe.launcher);
        command.arg(LAUNCHER_COMMAND).args(["--policy", recipe.policy.as_str()]);
        command.arg("--python").arg(&recipe.python.executable);
        for path in &recipe.python.reads {
            command.arg("--read").arg(path);
        }
        // The socket is standard input, so that nothing has to run between fork and exec: a process of this
        // size should not be forked.
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped());
        let process = command.process_group(0).spawn().map_err(|e| fail(e.to_string()))?;
        // The command holds a copy of the other end, which would hide that the worker is gone.
        drop(command);
        let mut worker = Worker { process, stream, randomness, layers: Vec::new(), executions: 0 };
        match worker.handshake(recipe) {
            Ok(()) => {}
            Err(error) => {
                let said = worker.last_words();
                return Err(fail(if said.is_empty() { error.to_string() } else { said }));
            }
        }
        if recipe.policy == Policy::Strict {
            let missing = Capability::missing(&worker.layers);
            if !missing.is_empty() {
                let missing: Vec<String> = missing.iter().map(Capability::to_string).collect();
                return Err(SandboxError::TooWeak { missing: missing.join(", ") });
            }
        }
        Ok(worker)
    }

    fn handshake(&mut self, recipe: &Recipe) -> io::Result<()> {
        self.stream.set_read_timeout(Some(Duration::from_secs(START_SECONDS)))?;
        self.stream.set_write_timeout(Some(Duration::from_secs(START_SECONDS)))?;
        write_frame(&mut self.stream, HARNESS.as_bytes())?;
        let init =
            serde_json::to_vec(&Init { child_filter: &recipe.child_filter }).map_err(io::Error::other)?;
        write_frame(&mut self.stream, &init)?;
        let launched: Launched = read_json(&mut self.stream)?;
        let (ready, _): (Ready, _) = self.receive(0)?;
        self.layers = launched.layers;
        self.layers.push(if ready.sealed {
            Layer::active("seccomp-child", ready.detail)
        } else {
            Layer::missing("seccomp-child", ready.detail)
        });
        if ready.version != recipe.python.version {
            return Err(io::Error::other(format!(
                "Python {} answered, {} was expected",
                ready.version, recipe.python.version
            )));
        }
        Ok(())
    }

    fn receive<T: serde::de::DeserializeOwned>(&mut self, limit: usize) -> io::Result<(T, Vec<u8>)> {
        let header = read_json(&mut self.stream)?;
        let body = read_frame(&mut self.stream, limit)?;
        Ok((header, body))
    }

    /// Lets one child do `work`; returns how it ended and what it wrote to its status pipe.
    ///
    /// After an error the worker is in doubt and must be dropped.
    pub fn exchange(&mut self, supervision: &Supervision, work: &Work<'_>) -> io::Result<(Ending, Vec<u8>)> {
        let header = serde_json::to_vec(supervision).map_err(io::Error::other)?;
        let work = serde_json::to_vec(work).map_err(io::Error::other)?;
        let patience = Duration::from_secs_f64(supervision.total + GRACE_SECONDS);
        self.stream.set_read_timeout(Some(patience))?;
        write_frame(&mut self.stream, &header)?;
        write_frame(&mut self.stream, &work)?;
        let answer = self.receive(supervision.cap + (1 << 20))?;
        self.executions += 1;
        Ok(answer)
    }

    /// A word that only the harness of one request knows.
    pub fn nonce(&mut self) -> io::Result<String> {
        let mut bytes = [0; 16];
        self.randomness.read_exact(&mut bytes)?;
        Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
    }

    fn end(&mut self) {
        let group = self.process.id() as libc::pid_t;
        // SAFETY: integer arguments. The group was made by our own spawn and its leader is not reaped before
        // the next line, so that its number cannot have become another's.
        unsafe { libc::kill(-group, libc::SIGKILL) };
        let _ = self.process.wait();
    }

    /// Ends the processes and returns what they wrote to standard error, for an error message.
    fn last_words(&mut self) -> String {
        // A launcher that failed by itself is given the time to say why.
        for _ in 0..50 {
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.end();
        let mut said = Vec::new();
        if let Some(stderr) = self.process.stderr.take() {
            let _ = stderr.take(1 << 16).read_to_end(&mut said);
        }
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(3)..].join("; ")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}
