//! The small process between the engine and Python: gives up rights, then becomes the interpreter.
//!
//! It is this binary started again, because the engine itself is large and has many threads: neither should be
//! forked. Order matters here: namespaces and mounts need the rights that `identity` gives up, and the first
//! system-call filter must come last, since it denies what the other layers are made with.

use std::ffi::{CStr, CString, OsString};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::layers::holds;
use super::protocol::{Launched, write_frame};
use super::{
    Layer, Policy, cgroup, identity, landlock_layer, mounts, namespaces, private_root, resources, seccomp,
    threads,
};

/// Descriptor of the socket to the engine, here and in the zygote.
const CONTROL: i32 = 3;

/// The first argument that makes the binary call [`launcher_main`].
pub const LAUNCHER_COMMAND: &str = "__sandbox";

/// Reads the harness from the socket, and hands it a private copy of the builtins.
const BOOTSTRAP: &str = "\
import os, builtins
def frame(read=os.read):
    def exactly(size):
        data = b''
        while len(data) < size:
            part = read(3, size - len(data))
            if not part: os._exit(0)
            data += part
        return data
    return exactly(int.from_bytes(exactly(4), 'little'))
space = {'__builtins__': dict(vars(builtins)), '__name__': 'vigor_harness'}
source, init = frame(), frame()
exec(compile(source, '<vigor>', 'exec'), space)
space['zygote'](space['parse_json'](init.decode()))
";

/// Keeps numerical libraries from starting threads in the zygote: a fork has only the one that forks.
const ONE_THREAD: [&CStr; 5] = [
    c"OPENBLAS_NUM_THREADS=1",
    c"OMP_NUM_THREADS=1",
    c"MKL_NUM_THREADS=1",
    c"NUMEXPR_NUM_THREADS=1",
    c"VECLIB_MAXIMUM_THREADS=1",
];

/// What the launcher is told on its command line.
#[derive(Debug)]
pub(super) struct Orders {
    policy: Policy,
    python: PathBuf,
    /// What Python must be able to read.
    reads: Vec<PathBuf>,
    /// The folder of the control group to enter.
    cgroup: Option<PathBuf>,
    /// Size of the scratch space; 0 for none.
    scratch_bytes: u64,
    /// Whether packages are loaded ahead of time.
    packages: bool,
    /// Names of layers that are not to be made.
    without: Vec<String>,
}

impl Orders {
    /// The layer that `make` makes, unless it is to be left out.
    pub(super) fn layer(&self, name: &str, make: impl FnOnce() -> Layer) -> Layer {
        if self.without.iter().any(|without| without == name) { Layer::left_out(name) } else { make() }
    }
}

/// Runs the launcher; `args` are the arguments after `__sandbox`. Its socket to the engine is standard input.
/// Returns the exit code; where all goes well it becomes Python (or waits for it) and returns only after.
pub fn launcher_main(args: &[OsString]) -> i32 {
    match parse(args).and_then(launch) {
        Ok(code) => code,
        Err(message) => {
            // The engine reads this when the worker does not come up.
            eprintln!("{message}");
            3
        }
    }
}

fn parse(args: &[OsString]) -> Result<Orders, String> {
    let mut orders = Orders {
        policy: Policy::default(),
        python: PathBuf::new(),
        reads: Vec::new(),
        cgroup: None,
        scratch_bytes: 0,
        packages: false,
        without: Vec::new(),
    };
    let mut args = args.iter();
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{} needs a value", flag.to_string_lossy()))?;
        match flag.to_str() {
            Some("--policy") => {
                orders.policy = value.to_str().and_then(Policy::parse).ok_or("no such policy")?;
            }
            Some("--python") => orders.python = value.into(),
            Some("--read") => orders.reads.push(value.into()),
            Some("--package-folder") => {
                orders.reads.push(value.into());
                orders.packages = true;
            }
            Some("--cgroup") => orders.cgroup = Some(value.into()),
            Some("--scratch-bytes") => {
                let bytes = value.to_str().and_then(|text| text.parse().ok());
                orders.scratch_bytes = bytes.ok_or("--scratch-bytes needs a number")?;
            }
            Some("--without") => orders.without.push(value.to_string_lossy().into_owned()),
            _ => return Err(format!("unknown argument {}", flag.to_string_lossy())),
        }
    }
    if orders.python.as_os_str().is_empty() {
        return Err("this command is started by vigor itself, to run programs in a sandbox".to_owned());
    }
    Ok(orders)
}

fn launch(orders: Orders) -> Result<i32, String> {
    let control = arrange_descriptors()?;
    // No directory of the user's stays open as the current one.
    std::env::set_current_dir("/").map_err(|error| format!("/: {error}"))?;
    // SAFETY: an integer argument. No address of the program should differ between two runs: it would show in the
    // order of sets of objects.
    unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) };
    let mut layers = vec![orders.layer("limits", || resources::limit(orders.scratch_bytes))];
    if orders.policy == Policy::Off {
        if orders.scratch_bytes > 0 {
            return Err("a scratch space needs the sandbox, which is switched off".to_owned());
        }
        return Err(become_python(&orders, control, layers));
    }
    // The group is the engine's to remove: enter it while its folder can still be reached.
    layers.extend(orders.cgroup.as_deref().map(cgroup::join));
    // Where others can read the installation, a root user becomes nobody; else (Python below /root, say) it
    // stays the owner of those files, without any right beyond that.
    let drop_to = identity::plan(&orders.reads);
    layers.extend(namespaces::enter(&drop_to, &orders));
    hide_files(&orders, &mut layers)?;
    if let Some(code) = namespaces::become_first_process(&layers)? {
        // It has been closed with all others.
        std::mem::forget(control);
        return Ok(code);
    }
    layers.push(orders.layer("identity", || identity::shed(&drop_to)));
    // Without a process namespace the parent is a thread of the engine, which may end before the worker is done.
    if holds(&layers, "process-namespace") {
        namespaces::end_with_parent();
    }
    layers.push(orders.layer(threads::NAME, || threads::limit(&drop_to, &layers)));
    let scratch = orders.scratch_bytes > 0;
    layers.push(orders.layer("landlock", || landlock_layer::restrict(&orders.reads, scratch)));
    layers.push(orders.layer("seccomp", seccomp::confine_zygote));
    Err(become_python(&orders, control, layers))
}

/// A root file system of its own; where that cannot be had, the host's, read-only and with private places empty.
fn hide_files(orders: &Orders, layers: &mut Vec<Layer>) -> Result<(), String> {
    let own_mounts = holds(layers, "mount-namespace");
    let needs = |name: &str| Layer::missing(name, "needs a mount namespace");
    let root = orders.layer(private_root::NAME, || {
        if own_mounts {
            private_root::enter(&orders.reads, orders.scratch_bytes)
        } else {
            needs(private_root::NAME)
        }
    });
    if orders.scratch_bytes > 0 && !root.active {
        return Err(format!("a scratch space needs a private root, which cannot be had: {}", root.detail));
    }
    let alone = !root.active;
    layers.push(root);
    if alone {
        layers.push(orders.layer(mounts::NAME, || {
            if own_mounts { mounts::make_read_only(&orders.reads) } else { needs(mounts::NAME) }
        }));
    }
    Ok(())
}

/// Moves the socket out of the way of the standard streams, gives those to nobody, and closes all the rest.
fn arrange_descriptors() -> Result<OwnedFd, String> {
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|error| format!("/dev/null: {error}"))?;
    let dup = |from: i32, to: i32| {
        // SAFETY: dup2 only changes this process's table of descriptors; 3 is not owned by any Rust value: the
        // process has just started, and `null` is moved away from it first where it landed there.
        if unsafe { libc::dup2(from, to) } < 0 {
            Err(format!("dup2: {}", std::io::Error::last_os_error()))
        } else {
            Ok(())
        }
    };
    // SAFETY: F_DUPFD returns a new descriptor, not below 10, that nothing else owns.
    let spare = unsafe { libc::fcntl(null.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 10) };
    if spare < 0 {
        return Err(format!("fcntl: {}", std::io::Error::last_os_error()));
    }
    drop(null);
    dup(0, CONTROL)?;
    dup(spare, 0)?;
    dup(spare, 1)?;
    // SAFETY: closes descriptors that this process inherited or opened above, none of them held by a Rust value;
    // a kernel without the call leaves them to close-on-exec, which every descriptor of the engine has.
    unsafe { libc::syscall(libc::SYS_close_range, CONTROL + 1, u32::MAX, 0) };
    // SAFETY: CONTROL was made just above and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(CONTROL) })
}

/// Tells the engine what holds, and executes Python. Returns only with an error.
fn become_python(orders: &Orders, control: OwnedFd, layers: Vec<Layer>) -> String {
    let mut stream = std::fs::File::from(control);
    let report = match serde_json::to_vec(&Launched { layers }) {
        Ok(report) => report,
        Err(error) => return error.to_string(),
    };
    if let Err(error) = write_frame(&mut stream, &report).and_then(|()| stream.flush()) {
        return format!("cannot answer the engine: {error}");
    }
    // SAFETY: integer arguments only; the descriptor must survive the exec.
    unsafe { libc::fcntl(CONTROL, libc::F_SETFD, 0) };
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| "a path with a NUL byte".to_owned());
    let python = match text(orders.python.as_os_str().as_bytes()) {
        Ok(python) => python,
        Err(message) => return message,
    };
    let arguments: Vec<CString> = [&b"-s"[..], b"-S", b"-B", b"-c", BOOTSTRAP.as_bytes()]
        .iter()
        .filter_map(|argument| CString::new(*argument).ok())
        .collect();
    let mut environment = vec![c"PYTHONHASHSEED=0", c"LC_ALL=C.UTF-8"];
    if orders.scratch_bytes > 0 {
        environment.extend([c"HOME=/scratch", c"TMPDIR=/scratch"]);
    }
    if orders.packages {
        environment.extend(ONE_THREAD);
    }
    let mut argv: Vec<_> = vec![python.as_ptr()];
    argv.extend(arguments.iter().map(|argument| argument.as_ptr()));
    argv.push(std::ptr::null());
    let mut envp: Vec<_> = environment.iter().map(|variable| variable.as_ptr()).collect();
    envp.push(std::ptr::null());
    // SAFETY: both arrays end with a null pointer, and every string in them outlives the call.
    unsafe { libc::execve(python.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    let error = std::io::Error::last_os_error();
    format!("cannot execute {}: {error}", OsString::from_vec(python.into_bytes()).to_string_lossy())
}
