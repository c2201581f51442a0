//! One worker: a launcher that became a zygote, and the socket to it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::cgroup::{self, Group};
use super::launcher::LAUNCHER_COMMAND;
use super::protocol::{Ending, Init, Launched, Ready, Supervision, Work, read_frame, read_json, write_frame};
use super::{Capability, Layer, Policy, PoolConfig, Python, SandboxError, resources, seccomp};

/// The Python side, in the order in which its parts need each other.
const HARNESS: &str = concat!(
    include_str!("harness/values.py"),
    include_str!("harness/plain.py"),
    include_str!("harness/tracer.py"),
    include_str!("harness/hooks.py"),
    include_str!("harness/runner.py"),
    include_str!("harness/judge.py"),
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
    child_filter: String,
    scratch_bytes: u64,
    preload: Vec<String>,
    /// Where those modules may come from.
    package_folders: Vec<PathBuf>,
    without: Vec<String>,
}

impl Recipe {
    pub fn new(config: PoolConfig) -> Result<Recipe, SandboxError> {
        let python = Python::resolve(&config.python)?;
        let scratch_bytes = config.scratch_mb.map_or(0, |mb| mb.clamp(1, 1 << 20) << 20);
        let package_folders =
            if config.preload.is_empty() { Vec::new() } else { python.package_folders()? };
        let mut recipe = Recipe {
            launcher: config.launcher,
            python,
            policy: config.policy,
            child_filter: String::new(),
            scratch_bytes,
            preload: config.preload,
            package_folders,
            without: config.without,
        };
        if recipe.makes(SECCOMP_CHILD) {
            recipe.child_filter = seccomp::child_filter_hex(scratch_bytes > 0);
        }
        Ok(recipe)
    }

    /// Whether the layer `name`, other than the limits, is to be made.
    fn makes(&self, name: &str) -> bool {
        self.policy != Policy::Off && !self.leaves_out(name)
    }

    fn leaves_out(&self, name: &str) -> bool {
        self.without.iter().any(|without| without == name)
    }

    /// The launcher's command line.
    fn command(&self, group: Option<&Group>) -> Command {
        let mut command = Command::new(&self.launcher);
        command.arg(LAUNCHER_COMMAND).args(["--policy", self.policy.as_str()]);
        command.arg("--python").arg(&self.python.executable);
        command.args(["--scratch-bytes", &self.scratch_bytes.to_string()]);
        for path in &self.python.reads {
            command.arg("--read").arg(path);
        }
        for path in &self.package_folders {
            command.arg("--package-folder").arg(path);
        }
        if let Some(group) = group {
            command.arg("--cgroup").arg(group.path());
        }
        for name in &self.without {
            command.args(["--without", name]);
        }
        command
    }
}

/// Layers that the launcher does not make.
const SECCOMP_CHILD: &str = "seccomp-child";
const DEADLINE: &str = "deadline";

/// A running zygote. Dropping it ends every process of it.
#[derive(Debug)]
pub(super) struct Worker {
    process: Child,
    stream: UnixStream,
    randomness: File,
    /// Removed after the processes have been ended.
    group: Option<Group>,
    /// Bytes that a child may write into its scratch space.
    scratch_bytes: u64,
    /// What holds for programs in this worker.
    pub layers: Vec<Layer>,
    /// Requests answered.
    pub executions: usize,
    /// Its processes have been ended.
    ended: bool,
}

impl Worker {
    /// Starts a worker and waits until it is ready.
    pub fn start(recipe: &Recipe) -> Result<Worker, SandboxError> {
        let fail = |reason: String| SandboxError::Launcher { launcher: recipe.launcher.clone(), reason };
        let (stream, theirs) = UnixStream::pair().map_err(|error| fail(error.to_string()))?;
        let randomness =
            File::open("/dev/urandom").map_err(|error| fail(format!("/dev/urandom: {error}")))?;
        let (group, no_group) = match recipe.makes(cgroup::NAME).then(Group::create) {
            None if recipe.leaves_out(cgroup::NAME) => (None, Some(Layer::left_out(cgroup::NAME))),
            None => (None, None),
            Some(Ok(group)) => (Some(group), None),
            Some(Err(reason)) => (None, Some(Layer::missing(cgroup::NAME, reason))),
        };
        let mut command = recipe.command(group.as_ref());
        // The socket is standard input, so that nothing has to run between fork and exec: a process of this
        // size should not be forked.
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped());
        let process = command.process_group(0).spawn().map_err(|e| fail(e.to_string()))?;
        // The command holds a copy of the other end, which would hide that the worker is gone.
        drop(command);
        let mut worker = Worker {
            process,
            stream,
            randomness,
            group,
            scratch_bytes: recipe.scratch_bytes,
            layers: Vec::new(),
            executions: 0,
            ended: false,
        };
        let ready = match worker.handshake(recipe) {
            Ok(ready) => ready,
            Err(error) => {
                let said = worker.last_words();
                return Err(fail(if said.is_empty() { error.to_string() } else { said }));
            }
        };
        worker.layers.extend(no_group);
        if let Some((module, reason)) = ready.not_loaded {
            let python = recipe.python.asked().to_owned();
            return Err(SandboxError::Preload { module, python, reason });
        }
        if recipe.policy == Policy::Strict {
            let missing = Capability::missing(&worker.layers);
            if !missing.is_empty() {
                let missing: Vec<String> =
                    missing.iter().map(|promise| promise.explain(&worker.layers)).collect();
                return Err(SandboxError::TooWeak { missing: missing.join(", ") });
            }
        }
        Ok(worker)
    }

    fn handshake(&mut self, recipe: &Recipe) -> io::Result<Ready> {
        self.stream.set_read_timeout(Some(Duration::from_secs(START_SECONDS)))?;
        self.stream.set_write_timeout(Some(Duration::from_secs(START_SECONDS)))?;
        write_frame(&mut self.stream, HARNESS.as_bytes())?;
        let init = Init {
            child_filter: &recipe.child_filter,
            own_pid: seccomp::OWN_PID,
            limits: !recipe.leaves_out("limits"),
            longest_file: resources::longest_file(recipe.scratch_bytes),
            preload: &recipe.preload,
            packages: recipe.package_folders.iter().map(|folder| folder.to_string_lossy()).collect(),
        };
        write_frame(&mut self.stream, &serde_json::to_vec(&init).map_err(io::Error::other)?)?;
        let launched: Launched = read_json(&mut self.stream)?;
        let (ready, _): (Ready, _) = self.receive(0)?;
        self.layers = launched.layers;
        self.layers.push(if recipe.leaves_out(SECCOMP_CHILD) {
            Layer::left_out(SECCOMP_CHILD)
        } else if ready.sealed {
            Layer::active(SECCOMP_CHILD, ready.detail.as_str())
        } else {
            Layer::missing(SECCOMP_CHILD, ready.detail.as_str())
        });
        self.layers.push(Layer::active(
            DEADLINE,
            "wall-clock time: the zygote ends a child that is late, the engine a zygote that is",
        ));
        if ready.version != recipe.python.version {
            return Err(io::Error::other(format!(
                "Python {} answered, {} was expected",
                ready.version, recipe.python.version
            )));
        }
        Ok(ready)
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
        if let Some(group) = &mut self.group {
            group.allow((work.memory_mb() << 20) + self.scratch_bytes)?;
        }
        let work = serde_json::to_vec(work).map_err(io::Error::other)?;
        let patience = Duration::from_secs_f64(supervision.total + GRACE_SECONDS);
        self.stream.set_read_timeout(Some(patience))?;
        write_frame(&mut self.stream, &header)?;
        write_frame(&mut self.stream, &work)?;
        let (ending, body): (Ending, _) = self.receive(supervision.cap + (1 << 20))?;
        if ending.ended == "no child" {
            let reason = String::from_utf8_lossy(&body);
            return Err(io::Error::other(format!("no process for the program: {reason}")));
        }
        self.executions += 1;
        Ok((ending, body))
    }

    /// A word that only the harness of one request knows.
    pub fn nonce(&mut self) -> io::Result<String> {
        let mut bytes = [0; 16];
        self.randomness.read_exact(&mut bytes)?;
        Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
    }

    fn end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let group = self.process.id() as libc::pid_t;
        // SAFETY: integer arguments. The group was made by our own spawn and its leader is not reaped before
        // the next line, so that its number cannot have become another's.
        unsafe { libc::kill(-group, libc::SIGKILL) };
        let _ = self.process.wait();
    }

    /// Ends the processes and returns what they wrote to standard error, for an error message.
    fn last_words(&mut self) -> String {
        // A launcher that failed by itself is given the time to say why.
        std::thread::sleep(Duration::from_millis(100));
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
